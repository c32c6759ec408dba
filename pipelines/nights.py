"""The nights that ``--night`` names."""

from __future__ import annotations

from datetime import date, datetime

from pipelines.errors import OptionsError

_DATE = len("2026-11-23")


def nights(text: str | None) -> tuple[date, date]:
    """The first and the last night of ``YYYY-MM-DD``, ``YYYY-MM-DD..YYYY-MM-DD`` or ``YYYY-MM-DD..DD``; all where it is None."""
    if text is None:
        return date(1, 1, 1), date(9999, 12, 31)
    parts = text.split("..")
    if len(parts) == 2 and len(parts[0]) == _DATE and len(parts[1]) in (2, 5):
        # A day of the same month, or a month and a day of the same year.
        parts[1] = parts[0][: -len(parts[1])] + parts[1]
    try:
        days = [datetime.strptime(part, "%Y-%m-%d").date() for part in parts]
    except ValueError as error:
        raise OptionsError(f"--night {text} is no night; write 2026-11-23, or 2026-11-01..2026-11-23") from error
    if len(days) > 2 or days[0] > days[-1]:
        raise OptionsError(f"--night {text} is no range of nights; write the earlier first, as 2026-11-01..2026-11-23")
    return days[0], days[-1]
