"""Where tables live: a folder, a bucket, BigQuery, asked the same questions and written in the same words."""
