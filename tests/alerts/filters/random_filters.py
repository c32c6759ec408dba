"""Filters at random, of all that the language has."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """Names of a survey that filters are made of."""

    record: str
    array: str
    numbers: tuple[str, ...]
    """Of the record; the first ones are fields of the entries, too."""
    shared: int
    """How many of them are."""
    whole: tuple[str, ...]
    """Of both; the first of them tells the band, or the night."""
    truth: str
    """Of both."""
    time: str
    """Of both: what entries are ordered by."""
    more: tuple[str, ...] = ()
    """Numbers of the alert that stand elsewhere."""


ZTF = Words(
    "candidate",
    "prv_candidates",
    ("magpsf", "sigmapsf", "rb", "jd", "ra", "dec", "sky", "fwhm", "distnr", "magap", "chipsf", "sgscore1", "distnr_arcsec"),
    9,
    ("fid", "nbad", "rcid", "nneg"),
    "isdiffpos",
    "jd",
    ("features.g.slope_mag_per_day", "features.r.mean_njy", "features.age_history_days", "ra_deg", "dec_deg"),
)
LSST = Words(
    "diaSource",
    "prvDiaSources",
    ("psfFlux", "psfFluxErr", "midpointMjdTai", "ra", "dec", "snr", "apFlux", "reliability", "extendedness"),
    9,
    ("detector", "visit"),
    "isDipole",
    "midpointMjdTai",
    ("features.g.slope_njy_per_day", "features.r.mean_njy", "features.age_history_days", "ra_deg", "dec_deg"),
)
WORDS = {"ztf": ZTF, "lsst": LSST}
_CONSTANTS = (0, 1, 2, 18, -999, 1.5, 19.25, 2458000.5, 1e-3, -0.25, 3, 0.1)


def condition(rng: random.Random, words: Words, depth: int = 3) -> str:
    """A condition on an alert."""
    return _Made(rng, words).truth(depth)


def whole_filter(rng: random.Random, words: Words) -> str:
    """A filter with columns of several types."""
    made = _Made(rng, words)
    columns = f"{made.number(2)} AS x, {made.count(2)} AS n, {made.text(1)} AS s, {made.truth(1)} AS b, {made.moment()} AS t"
    return f"SELECT alert_id, {columns} FROM alerts WHERE {made.truth(3)}"


class _Made:
    def __init__(self, rng: random.Random, words: Words) -> None:
        self.rng, self.words = rng, words
        self.entries = 0
        """How many subqueries we are in."""

    def of(self, *ways: Callable[[], str]) -> str:
        return self.rng.choice(ways)()

    def pick(self, values: tuple[object, ...] | list[object] | list[str]) -> str:
        return str(self.rng.choice(values))

    def field(self, names: tuple[str, ...]) -> str:
        words, rng = self.words, self.rng
        if self.entries and rng.random() < 0.7:
            shared = [name for name in names if name in words.whole or name in words.numbers[: words.shared]]
            return f"p.{rng.choice(shared)}"
        return f"{words.record}.{rng.choice(names)}"

    def truth(self, depth: int) -> str:
        d = depth - 1
        simple: list[Callable[[], str]] = [
            lambda: f"{self.number(0)} {self.pick(['<', '>', '<=', '>=', '=', '!='])} {self.number(0)}",
            lambda: f"{'p' if self.entries else self.words.record}.{self.words.truth}",
            lambda: f"{self.number(0)} IS {self.pick(['', 'NOT '])}NULL",
            lambda: f"{self.field(self.words.whole)} IN (0, 1, {self.rng.randint(2, 9)})",
            lambda: f"{self.number(0)} BETWEEN {self.number(0)} AND {self.number(0)}",
            lambda: f"{self.text(0)} {self.pick(['<', '>=', '=', '!='])} {self.text(0)}",
            lambda: f"{self.text(0)} {self.pick(['NOT LIKE', 'LIKE'])} '{self.pick(['ZTF%', '%a%', '_TF18%', '', '%', 'z_f%'])}'",
            lambda: (
                f"night {self.pick(['<', '>='])} DATE '{self.pick(['2018-06-26', '2024-07-15', '0001-01-01', '9999-12-31'])}'"
            ),
            lambda: (
                f"observed_at {self.pick(['<', '>=', '='])} TIMESTAMP '{self.pick(['2023-10-12 06:00:00+01:00', '1970-01-01'])}'"
            ),
        ]
        if depth <= 0:
            return self.of(*simple)
        deep: list[Callable[[], str]] = [
            lambda: f"({self.truth(d)} AND {self.truth(d)})",
            lambda: f"({self.truth(d)} OR {self.truth(d)} OR {self.truth(0)})",
            lambda: f"NOT ({self.truth(d)})",
            lambda: f"COALESCE({self.truth(d)}, {self.pick(['TRUE', 'FALSE', 'NULL'])})",
            lambda: f"IF({self.truth(d)}, {self.truth(d)}, {self.truth(d)})",
            lambda: f"({self.truth(d)}) IS {self.pick(['', 'NOT '])}{self.pick(['TRUE', 'FALSE', 'NULL'])}",
            lambda: f"{self.number(d)} {self.pick(['<', '>', '!='])} {self.number(d)}",
            lambda: f"{self.count(d)} {self.pick(['<', '>=', '='])} {self.count(d)}",
            lambda: f"NULLIF({self.truth(0)}, {self.truth(0)})",
            lambda: f"STARTS_WITH({self.text(d)}, '{self.pick(['ZTF', '', 's', '1'])}')",
            lambda: f"{self.text(d)} IN ('QSO', 'star', '5.5', '', 'simbad')",
        ]
        if not self.entries:
            deep += [
                lambda: f"EXISTS(SELECT 1 FROM {self.over()} WHERE {self.inside(lambda: self.truth(d))})",
                lambda: f"(SELECT LOGICAL_{self.pick(['AND', 'OR'])}({self.inside(lambda: self.truth(0))}) FROM {self.over()})",
                lambda: (
                    "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE s.separation_arcsec < "
                    f"{self.rng.random() * 5:.2f} AND {self.json()} {self.pick(['=', '!=', '<'])} "
                    f"'{self.pick(['QSO', '7', '5.5'])}')"
                ),
                lambda: (
                    "EXISTS(SELECT 1 FROM UNNEST(matches) AS m WHERE m.catalog = 'simbad' AND (SELECT COUNT(*) FROM "
                    f"UNNEST(m.sources) AS s WHERE s.separation_arcsec < {self.rng.random() * 5:.2f}) > {self.rng.randint(0, 2)})"
                ),
            ]
        return self.of(*simple, *deep, *deep)

    def number(self, depth: int) -> str:
        """Of type FLOAT64 or INT64."""
        d = depth - 1
        simple: list[Callable[[], str]] = [
            lambda: self.field(self.words.numbers),
            lambda: self.field(self.words.numbers),
            lambda: self.field(self.words.whole),
            lambda: self.pick(list(_CONSTANTS)),
        ]
        if not self.entries:
            simple.append(lambda: self.pick(list(self.words.more)))
        if depth <= 0:
            return self.of(*simple)
        functions = ["ABS", "SQRT", "LN", "LOG10", "FLOOR", "CEIL", "SIN", "COS", "TAN", "EXP", "-"]
        deep: list[Callable[[], str]] = [
            lambda: f"({self.number(d)} {self.pick(list('+-*/'))} {self.number(d)})",
            lambda: f"({self.number(d)} {self.pick(list('+-*/'))} {self.number(d)})",
            lambda: f"{self.pick(functions)}({self.number(d)})",
            lambda: f"{self.pick(['POW', 'ATAN2'])}({self.number(d)}, {self.number(d)})",
            lambda: f"{self.pick(['LEAST', 'GREATEST', 'COALESCE'])}({self.number(d)}, {self.number(d)}, {self.number(0)})",
            lambda: f"NULLIF({self.number(d)}, {self.number(d)})",
            lambda: f"CASE WHEN {self.truth(0)} THEN {self.number(d)} WHEN {self.truth(0)} THEN NULL ELSE {self.number(d)} END",
            lambda: f"SAFE_CAST({self.text(d)} AS FLOAT64)",
            lambda: self.count(d),
        ]
        if not self.entries:
            deep += [lambda: self.aggregate(["MIN", "MAX", "AVG", "STDDEV", "SUM"], lambda: self.number(d))] * 2
            deep += [lambda: self.first(lambda: self.number(d))]
            deep += [lambda: self.first_source(f"SAFE_CAST({self.json()} AS FLOAT64)")]
        return self.of(*simple, *deep)

    def count(self, depth: int) -> str:
        """Of type INT64."""
        d = depth - 1
        simple: list[Callable[[], str]] = [lambda: self.field(self.words.whole), lambda: str(self.rng.randint(-3, 9))]
        if depth <= 0:
            return self.of(*simple)
        deep: list[Callable[[], str]] = [
            lambda: f"({self.count(d)} {self.pick(list('+-*'))} {self.count(d)})",
            lambda: f"MOD({self.count(d)}, {self.count(d)})",
            lambda: f"{self.pick(['ABS', '-'])}({self.count(d)})",
            lambda: f"{self.pick(['LEAST', 'GREATEST', 'COALESCE', 'NULLIF'])}({self.count(d)}, {self.count(d)})",
        ]
        if not self.entries:
            deep += [
                lambda: self.aggregate(["COUNT", "MIN", "MAX", "SUM"], lambda: self.count(d)),
                lambda: self.aggregate(["COUNTIF"], lambda: self.truth(0)),
                lambda: f"(SELECT COUNT(*) FROM {self.over()} WHERE p.{self.words.whole[0]} = {self.count(0)})",
                lambda: f"ARRAY_LENGTH({self.pick([self.words.array, 'matches'])})",
            ]
        return self.of(*simple, *deep)

    def text(self, depth: int) -> str:
        d = depth - 1
        simple: list[Callable[[], str]] = [
            lambda: "object_id",
            lambda: f"'{self.pick(['ZTF18aaa', '', '7', '1e3', 'ztf', 'simbad'])}'",
        ]
        if depth <= 0:
            return self.of(*simple)
        deep: list[Callable[[], str]] = [
            lambda: f"{self.pick(['LOWER', 'UPPER'])}({self.text(d)})",
            lambda: f"IF({self.truth(0)}, {self.text(d)}, {self.text(d)})",
            lambda: f"{self.pick(['COALESCE', 'NULLIF'])}({self.text(d)}, {self.text(d)})",
        ]
        if not self.entries:
            deep += [lambda: self.first_source(self.json()), lambda: self.first_source("m.catalog")]
        return self.of(*simple, *deep)

    def moment(self) -> str:
        return self.of(
            lambda: "observed_at",
            lambda: "(SELECT MAX(m.asked_at) FROM UNNEST(matches) AS m)",
            lambda: "(SELECT m.asked_at FROM UNNEST(matches) AS m ORDER BY m.radius_arcsec DESC LIMIT 1)",
            lambda: "COALESCE((SELECT MIN(m.asked_at) FROM UNNEST(matches) AS m), observed_at)",
        )

    def over(self) -> str:
        return f"UNNEST({self.words.array}) AS p"

    def inside(self, make: Callable[[], str]) -> str:
        self.entries += 1
        made = make()
        self.entries -= 1
        return made

    def aggregate(self, names: list[str], make: Callable[[], str]) -> str:
        where = f" WHERE {self.inside(lambda: self.truth(0))}" if self.rng.random() < 0.7 else ""
        return f"(SELECT {self.pick(names)}({self.inside(make)}) FROM {self.over()}{where})"

    def first(self, make: Callable[[], str]) -> str:
        key = f"p.{self.words.time}" if self.rng.random() < 0.6 else self.inside(lambda: self.number(1))
        return f"(SELECT {self.inside(make)} FROM {self.over()} ORDER BY {key}{self.pick(['', ' DESC'])} LIMIT 1)"

    def first_source(self, value: str) -> str:
        order = f"ORDER BY s.separation_arcsec{self.pick(['', ' DESC'])} LIMIT 1"
        return f"(SELECT {value} FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s {order})"

    def json(self) -> str:
        return f"JSON_VALUE(s.columns, '$.{self.pick(['otype', 'plx', 'nothing'])}')"
