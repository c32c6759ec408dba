"""Filters as SQL of engines: the same verdict of an alert as ``alerts.filters.judge`` gives."""
