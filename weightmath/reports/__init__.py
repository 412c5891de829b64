"""What the commands have to say, as plain frozen records: text and `--json` are two prints of the same record.

A record's fields are the keys of its JSON, so they are documented in its docstring and stay stable.
Numbers that JSON lacks are the texts "nan", "inf" and "-inf"; `null` is a value that there is not. Where a notebook
shows a record, it leaves out lists of a model's tensors.
"""
