"""Takes the fork server that imports this out of the terminal's session, away from Ctrl-C."""

import os

from search.executors.marker import MARKER, SERVER

if os.environ.get(MARKER) == SERVER:  # an import by anybody else does nothing
    os.setsid()
