"""What made an output: the record that it carries, and what can be told from it."""
