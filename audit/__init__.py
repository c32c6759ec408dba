"""What was sent against what is there: the truth, the warehouse's books, and the report."""
