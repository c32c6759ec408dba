"""Runs that may not write: their inputs are another's, or they have been given up."""

from __future__ import annotations

from collections.abc import Collection


class InputsTaken(RuntimeError):
    """Another run writes rows of the same inputs into the same warehouse now."""


class StaleRun(RuntimeError):
    """A run that has lost its claim: what it would put in place may be another's by now. Nothing was changed."""


def refuse_taken(run_id: str, folder: str, inputs: Collection[str], theirs: Collection[str]) -> None:
    """Refuse to begin where a run that lives has some of our inputs. Raises ``InputsTaken``."""
    if both := sorted(set(inputs).intersection(theirs)):
        more = f" and {len(both) - 1:,} more" if len(both) > 1 else ""
        raise InputsTaken(
            f"run {run_id} is writing {both[0]}{more} into {folder} now; wait for its end, or give another --warehouse"
        )
