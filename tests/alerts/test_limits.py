"""The page of limits against the constants."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerts import limits

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
CONSTANTS = {name: value for name, value in vars(limits).items() if name.isupper() and not name.startswith("_")}
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "PiB": 2**50, "s": 1, "µs": 1, "": 1, "times the record": 1, "times": 1}


def rows() -> dict[str, str]:
    """What the page says of each constant: the cell of its limit."""
    found = re.findall(r"^\|[^|]*\| `(\w+)` \| ([^|]*) \| [^|]+\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_page_says_what_the_constant_is(name):
    number, _, unit = rows()[name].partition(" ")
    assert float(number.replace(",", "")) * UNITS[unit] == CONSTANTS[name]
    # A size is said in bytes, a time in seconds.
    assert (name.endswith("_BYTES")) == (unit.endswith(("bytes", "B"))), name
    assert (name.endswith("_SECS")) == (unit == "s"), name


def test_the_page_speaks_of_no_other():
    assert rows().keys() == CONSTANTS.keys()


def test_each_limit_is_used_where_it_says():
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in (PAGE.parents[1] / "alerts").rglob("*.py") if file.name != "limits.py"
    )
    assert [name for name in CONSTANTS if not re.search(rf"\b{name}\b", code)] == []
