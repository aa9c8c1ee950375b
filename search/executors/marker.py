"""The environment variable that marks every process of a trial."""

MARKER = "ESPALIER_TRIAL"
"""Name of the variable; its value is ``study/number/chance``, as studies may share their name."""

SERVER = "server"
"""Its value in the fork server, which forked trials show to the outside until they exec."""
