"""Conditions at random, of all that the language has."""

from __future__ import annotations

import random

_NUMBERS = ("magpsf", "sigmapsf", "rb", "jd", "ra", "dec", "sky", "fwhm", "magap", "chipsf", "distnr")
_WHOLE = ("fid", "nbad", "rcid", "nneg")


def condition(rng: random.Random, record: str, array: str, depth: int = 3) -> str:
    """A condition on an alert's own record and on the entries of its history."""
    return _bool(rng, record, array, depth)


def _bool(rng: random.Random, record: str, array: str, depth: int) -> str:
    def number(levels: int = depth - 1) -> str:
        return _number(rng, record, array, levels)

    def truth() -> str:
        return _bool(rng, record, array, depth - 1)

    simple = [
        lambda: f"{number(0)} {rng.choice(['<', '>', '<=', '>=', '=', '!='])} {number(0)}",
        lambda: f"{record}.isdiffpos",
        lambda: f"{number(0)} IS {rng.choice(['', 'NOT '])}NULL",
        lambda: f"{record}.{rng.choice(_WHOLE)} IN (0, 1, {rng.randint(2, 9)})",
        lambda: f"{number(0)} BETWEEN {number(0)} AND {number(0)}",
    ]
    if depth <= 0:
        return rng.choice(simple)()
    deep = [
        lambda: f"({truth()} AND {truth()})",
        lambda: f"({truth()} OR {truth()})",
        lambda: f"NOT {truth()}",
        lambda: f"COALESCE({truth()}, {rng.choice(['TRUE', 'FALSE'])})",
        lambda: f"IF({truth()}, {truth()}, {truth()})",
        lambda: f"({truth()}) IS {rng.choice(['', 'NOT '])}{rng.choice(['TRUE', 'FALSE', 'NULL'])}",
        lambda: f"{number()} {rng.choice(['<', '>'])} {number()}",
        lambda: f"EXISTS(SELECT 1 FROM UNNEST({array}) AS p WHERE {_bool(rng, 'p', array, 0)} AND p.jd < {record}.jd)",
    ]
    return rng.choice(simple + deep * 2)()


def _number(rng: random.Random, record: str, array: str, depth: int) -> str:
    simple = [
        lambda: f"{record}.{rng.choice(_NUMBERS if record == 'candidate' else _NUMBERS[:7])}",
        lambda: f"{record}.{rng.choice(_WHOLE)}",
        lambda: str(rng.choice([0, 1, 2, 18, -999, 1.5, 19.25, 2458000.5, 1e-3])),
    ]
    if depth <= 0:
        return rng.choice(simple)()

    def again() -> str:
        return _number(rng, record, array, depth - 1)

    def inner() -> str:
        return _number(rng, "p", array, 0)

    aggregate = rng.choice(["MIN", "MAX", "AVG", "STDDEV", "COUNT"])
    deep = [
        lambda: f"({again()} {rng.choice('+-*/')} {again()})",
        lambda: f"{rng.choice(['ABS', 'SQRT', 'LN', 'LOG10', 'FLOOR', 'SIN'])}({again()})",
        lambda: f"{rng.choice(['LEAST', 'GREATEST', 'COALESCE'])}({again()}, {again()})",
        lambda: f"NULLIF({again()}, {again()})",
        lambda: f"CASE WHEN {_bool(rng, record, array, 0)} THEN {again()} ELSE {again()} END",
        lambda: f"(SELECT {aggregate}({inner()}) FROM UNNEST({array}) AS p WHERE {_bool(rng, 'p', array, 0)})",
        lambda: f"(SELECT {inner()} FROM UNNEST({array}) AS p ORDER BY p.jd{rng.choice(['', ' DESC'])} LIMIT 1)",
        lambda: f"(SELECT COUNT(*) FROM UNNEST({array}) AS p WHERE p.fid = {record}.fid)",
    ]
    return rng.choice(simple + deep)()
