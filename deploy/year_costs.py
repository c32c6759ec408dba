"""What a year of nights costs in BigQuery: its storage, and questions to it (``docs/bigquery.md`` says what each reads)."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cost_inputs import GB, GIB, LEAST_BILLED_BYTES, LONG_TERM_DAYS, LSST, TIB, YEAR_NIGHTS, ZTF, NightCosts, usd_of


@dataclass(frozen=True)
class Year:
    """A year of one survey's nights in BigQuery."""

    night: NightCosts

    @property
    def alerts(self) -> int:
        """Of the year."""
        return self.night.alerts * YEAR_NIGHTS

    def storage(self) -> list[str]:
        """What the tables take and cost, billed by logical or by physical bytes: in the last month, and in the whole year."""
        lines = []
        for billed, each in (("", self.night.table_bytes), (" physical", self.night.physical_bytes)):
            gib = self.night.alerts * each / GIB
            new, old = usd_of(f"active{billed}"), usd_of(f"long-term{billed}")
            recent, rest = LONG_TERM_DAYS, YEAR_NIGHTS - LONG_TERM_DAYS
            month = gib * (recent * new + rest * old)
            whole = sum(gib * (min(day, recent) * new + max(day - recent, 0) * old) for day in range(1, YEAR_NIGHTS + 1))
            lines.append(
                f"{self.night.name},{billed or ' logical'} bytes: "
                f"a night is {self.night.alerts:,} x {each:,} B = {gib:,.1f} GiB; "
                f"a month after a year {gib:,.1f} x ({recent} x {new} + {rest} x {old}) = {month:,.2f} USD; "
                f"the first year {whole / (YEAR_NIGHTS / 12):,.0f} USD"
            )
        return lines


@dataclass(frozen=True)
class Question:
    """What a query reads (``docs/bigquery.md``): of each alert of all nights, and of each alert of the nights found or named."""

    what: str
    of_all: int
    of_found: int
    nights: int
    tables: int
    """How often a table is named, for each of which 10 MB are billed at least; what the clustering leaves of it is less."""

    def read_bytes(self, year: Year) -> int:
        """After a year."""
        alerts = self.of_all * YEAR_NIGHTS + self.of_found * self.nights
        return alerts * year.night.alerts + self.tables * LEAST_BILLED_BYTES


_ID, _OBJECT = 8, 20
"""Bytes of a number or date, and of an object's id."""


def questions(night: NightCosts) -> list[Question]:
    """Typical ones of a survey."""
    return [
        Question("an object, its light curve", 2 * _ID, 0, 0, 3),
        Question("a cone of 5 arcsec, found in 10 nights", 3 * _ID, _OBJECT + 2 * _ID, 10, 4),
        Question("an alert with its stamps (info)", 2 * _ID, _OBJECT + 2 * _ID, 1, 5),
        Question("one number of a night", 0, 2 * _ID, 1, 1),
        Question("one number of all nights", 2 * _ID, 0, 0, 1),
        Question("all rows of a night, without stamps", 0, night.row_bytes, 1, 1),
        Question("all rows of a night, with stamps", 0, night.table_bytes, 1, 2),
    ]


def asked() -> str:
    """What questions read and cost a year on, as a Markdown table."""
    surveys = (ZTF, LSST)
    rows = [("question", *(f"{night.name}, {unit}" for night in surveys for unit in ("GB read", "USD"))), ("---",) * 5]
    for some in zip(*map(questions, surveys), strict=True):
        read = [question.read_bytes(Year(night)) for question, night in zip(some, surveys, strict=True)]
        numbers = [text for size in read for text in (f"{size / GB:,.2f}", f"{size / TIB * usd_of('query'):,.3f}")]
        rows.append((some[0].what, *numbers))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
