"""A warehouse in a dataset of BigQuery."""
