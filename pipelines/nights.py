"""The nights that ``--night`` names."""

from __future__ import annotations

from datetime import date, datetime

from pipelines.errors import OptionsError


def nights(text: str | None) -> tuple[date, date]:
    """The first and the last night of ``YYYY-MM-DD`` or ``YYYY-MM-DD..YYYY-MM-DD``; all where it is None."""
    if text is None:
        return date(1, 1, 1), date(9999, 12, 31)
    parts = text.split("..")
    try:
        days = [datetime.strptime(part, "%Y-%m-%d").date() for part in parts]
    except ValueError as error:
        raise OptionsError(f"--night {text} is no night; write 2026-11-23, or 2026-11-01..2026-11-23") from error
    if len(days) > 2 or days[0] > days[-1]:
        raise OptionsError(f"--night {text} is no range of nights; write the earlier first, as 2026-11-01..2026-11-23")
    return days[0], days[-1]
