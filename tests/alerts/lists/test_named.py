"""Lists as a person names them."""

from __future__ import annotations

import pytest

from alerts.filters.errors import FilterError
from alerts.filters.parse import parse
from alerts.filters.row import Lists, row_of
from alerts.lists.named import BadList, NamedFile, check_different, parse_named
from alerts.surveys import SURVEYS

KNOWN = ("level", "t0")


def test_a_list_is_a_name_a_file_and_what_is_said_of_it() -> None:
    assert parse_named("GW1=map.fits", KNOWN) == NamedFile("GW1", "map.fits")
    told = parse_named("gw_1=gs://b/a=b.fits?level=0.5&t0=2026-11-01T00:00:00Z", KNOWN)
    assert told == NamedFile("gw_1", "gs://b/a=b.fits", (("level", "0.5"), ("t0", "2026-11-01T00:00:00Z")))


def test_a_question_mark_may_be_a_part_of_a_file_s_name() -> None:
    assert parse_named("a=is this it?.fits", KNOWN).path == "is this it?.fits"
    assert parse_named("a=is it?.fits?level=0.5", KNOWN) == NamedFile("a", "is it?.fits", (("level", "0.5"),))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("map.fits", "write NAME=FILE"),
        ("a=", "write NAME=FILE"),
        ("=map.fits", "no name for a list"),
        ("1a=map.fits", "no name for a list"),
        ("a b=map.fits", "no name for a list"),
        ("ä=map.fits", "no name for a list"),
        ("a.b=map.fits", "no name for a list"),
        ("x_level=map.fits", "take another"),
        ("Select=map.fits", "'Select' is a word of SQL"),
        ("x_DAYS_SINCE=map.fits", "take another"),
        ("a=map.fits?levl=0.5", "has the parameter 'levl'; such a list takes level, t0"),
        ("a=map.fits?level=0.5&level=0.6", "gives a parameter twice"),
        ("a=map.fits?level=0.5&&t0", "are not of the form"),
    ],
)
def test_what_names_no_list_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadList, match=told):
        parse_named(text, KNOWN)


def test_capitals_do_not_tell_lists_apart() -> None:
    check_different(["a", "b"])
    with pytest.raises(BadList, match="two lists have the name 'A'"):
        check_different(["a", "A"])


@pytest.mark.parametrize(
    "word", ["all", "case", "current_date", "date", "end", "from", "group", "in", "order", "unnest", "where"]
)
def test_other_words_of_sql_are_names(word: str) -> None:
    assert parse_named(f"{word}=map.fits", KNOWN).name == word
    query = f"SELECT regions.{word} AS a FROM alerts WHERE NOT watchlists.{word} AND regions.{word}_level < 0.5"
    lists = Lists(watchlists=(word,), regions=(word,), maps=(word,))
    assert parse(query, row_of(SURVEYS["ztf"], lists)).columns[0].name == "a"


@pytest.mark.parametrize("word", ["false", "not", "null", "select", "true"])
def test_words_that_no_filter_can_ask_for_are_none(word: str) -> None:
    with pytest.raises(FilterError):
        parse(f"SELECT alert_id FROM alerts WHERE watchlists.{word}", row_of(SURVEYS["ztf"], Lists(watchlists=(word,))))
    with pytest.raises(BadList, match="word of SQL"):
        parse_named(f"{word}=places.csv", KNOWN)
