"""The `terrazzo` command. One file per group of commands; `main` is the entry point.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not allowed, 5 conflict with the present
state, 6 the server can't be reached.
"""

from terrazzo.cli.main import main

__all__ = ["main"]
