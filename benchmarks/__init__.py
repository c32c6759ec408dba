"""Measurements that anyone can repeat; see docs/performance.md and docs/streaming.md."""
