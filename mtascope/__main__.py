"""`python -m mtascope` is `mtascope`."""

from mtascope.cli import main

main()
