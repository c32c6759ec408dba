"""What somebody wants of the alerts, as a text of SQL that is the same in the stream, over a folder and in BigQuery."""
