"""What can go wrong with a warehouse that is asked."""

from __future__ import annotations


class QueryError(ValueError):
    """The question cannot be answered; the message says why in one sentence."""
