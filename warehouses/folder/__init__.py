"""A warehouse of Parquet files by night, on a disk or in a bucket."""
