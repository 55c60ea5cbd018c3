"""`python -m bridge.entrypoints.cli`: the command without its script."""

from bridge.entrypoints.cli import main

main()
