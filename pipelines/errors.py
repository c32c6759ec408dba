"""What can be wrong with a run before it begins."""

from __future__ import annotations


class OptionsError(ValueError):
    """The options are wrong; the message says which and what to do, in one sentence."""
