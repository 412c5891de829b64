"""The command line: one file per command, which calls the library and prints what it says."""

from weightmath.cli.app import main as main
