"""weightmath."""
