"""`python -m terrazzo` is the `terrazzo` command."""

from terrazzo.cli import main

main()
