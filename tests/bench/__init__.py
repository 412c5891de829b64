"""How fast weightmath is against its machine, and beside its peers: `python -m tests.bench --help`."""
