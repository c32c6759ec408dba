"""Where hits go: names are filled in, what is wrong is told in a sentence with what to write."""

from __future__ import annotations

import os

import pytest

from streams.addresses import Address
from streams.errors import StreamProblem
from streams.outlets import parse_outlet, parse_outlets

FILTERS = [("ztf", "fast"), ("lsst", "fast"), ("ztf", "slow"), ("ztf", "all"), ("lsst", "all")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("folder:/hits/{survey}-{filter}", ["folder:/hits/lsst-fast", "folder:/hits/ztf-fast", "folder:/hits/ztf-slow"]),
        ("folder:/hits", ["folder:/hits"]),
        ("folder:/{filter}?filter=slow", ["folder:/slow"]),
        ("folder:/{survey}?filter=all", ["folder:/lsst", "folder:/ztf"]),
        ("kafka:a:1,b:2/{survey}.{filter}?filter=fast", ["kafka:a:1,b:2/lsst.fast", "kafka:a:1,b:2/ztf.fast"]),
        (
            "pubsub:projects/my-project/topics/{survey}-{filter}?filter=slow&ordered&private",
            ["pubsub:projects/my-project/topics/ztf-slow"],
        ),
    ],
)
def test_names_are_filled_in(text: str, found: list[str]) -> None:
    assert sorted(parse_outlet(text).addresses(FILTERS)) == found


def test_an_outlet_knows_its_format_and_who_may_read_it() -> None:
    outlet = parse_outlet("kafka:host:9092/{survey}?format=json&config=/etc/kafka.conf&private")
    assert (outlet.format, outlet.is_public) == ("json", False)
    assert outlet.at("ztf", "fast") == Address("kafka", "ztf", "host:9092", "json", "/etc/kafka.conf", private=True)
    assert parse_outlet("folder:x").format == "lite"
    assert parse_outlet("folder:x").is_public
    assert parse_outlet("folder:x?filter=all").format == "packet"
    assert parse_outlet("folder:x?filter=all&format=lite").format == "lite"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("folder:x/{survy}", "in names there may be {survey} and {filter}, and no other braces"),
        ("kafka:host:9092/{survey", "no other braces"),
        ("kafka:host:9092/a b{survey}", "is no topic's name"),
        ("pubsub:projects/my-project/subscriptions/{survey}", "is a subscription, which is read"),
        ("pubsub:{survey}", "is not of the form pubsub:projects/PROJECT/topics/NAME"),
        ("folder:x-manifest", "names that end with -manifest are of manifests"),
        ("folder:x?ordered", "ordered is for Pub/Sub alone"),
        ("folder:x?filter", "filter needs a value; write filter=NAME"),
        ("s3:x", "--publish s3:x is no address"),
    ],
)
def test_what_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(StreamProblem, match=told.replace("{", r"\{")):
        parse_outlet(text)


def test_one_place_is_one_outlet() -> None:
    assert len(parse_outlets(["folder:x?filter=a", "folder:x?filter=b", "folder:y"])) == 3
    here = os.getcwd()
    for other in ("folder:x?format=json", "folder:./x/", "folder:y/../x", f"folder:{here}/x"):
        with pytest.raises(StreamProblem, match=f"--publish folder:{here}/x is given twice; give it once"):
            parse_outlets(["folder:x", other])
    with pytest.raises(StreamProblem, match="--publish kafka:a:1,b:2/x is given twice; give it once"):
        parse_outlets(["kafka:a:1,b:2/x", "kafka:b:2,a:1/x?format=json"])
