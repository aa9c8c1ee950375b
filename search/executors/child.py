"""The child's side of a forked trial: it becomes what ``python -m module`` would have been."""

# Standard library only: every trial imports this before its own modules.
from __future__ import annotations

import atexit
import io
import os
import runpy
import sys
from collections.abc import Mapping, Sequence


def become(
    module: str, arguments: Sequence[str], log: str, cwd: str, environment: Mapping[str, str]
) -> None:
    """Run ``module`` as the main program, in a session of its own, with all output in ``log``."""
    os.setsid()
    _redirect(log)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    sys.path.insert(0, cwd)
    sys.modules.pop(module, None)  # preloaded under its name; it runs as the main module now
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception:  # noqa: BLE001  # the interpreter's own last resort, as for any main program
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its children without (until Python 3.14)


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a killed trial keeps what it said
