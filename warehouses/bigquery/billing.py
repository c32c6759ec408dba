"""What BigQuery may bill for one query, and what to say where it would be more."""

from __future__ import annotations

import re
from typing import Any

_REASON = "bytesBilledLimitExceeded"
USD_PER_TIB = 6.25
"""List price of queries on demand in the US, as it was told in 2025."""
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "bytes"))
_TIB = 2**40


def too_much(error: Any, most_bytes: int) -> str | None:
    """What to say of an error of BigQuery's client, where it is that a query would read more than it may; else None."""
    details = getattr(error, "errors", None) or [{}]
    if not isinstance(details[0], dict) or details[0].get("reason") != _REASON:
        return None
    # "Query exceeded limit for bytes billed: 1000. 10485760 or higher required." The number is what its dry run comes to.
    needed = re.search(r"(\d+) or higher required", str(error))
    reads = _amount(int(needed[1])) if needed else "more"
    flag = f"--maximum_bytes_billed {needed[1]}" if needed else "a higher --maximum_bytes_billed"
    return (
        f"BigQuery was not asked, since by its estimate the query reads {reads}, and the limit is {_amount(most_bytes)}; "
        f"name a night in its WHERE, or allow it with {flag}"
    )


def _amount(number: int) -> str:
    """Bytes for a person, and what they cost."""
    size, unit = next(step for step in _UNITS if number >= step[0])
    usd = number / _TIB * USD_PER_TIB
    return f"{number / size:.3g} {unit} ({f'about {usd:,.2f}' if usd >= 0.01 else 'less than 0.01'} USD)"
