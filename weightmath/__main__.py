"""`python -m weightmath` is the command `weightmath`."""

from weightmath.cli import main

main()
