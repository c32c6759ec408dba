"""What runs: the pipeline, its options, its account."""
