"""What the pages show of Kafka runs as it stands, against a real one."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from broker import cli
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud
from tests.kafka.topics import TestTopics
from tests.pages import blocks, commands, pages

LINES = [
    (page, line)
    for page in pages()
    for block in blocks(page, "sh")
    for line in commands(block)
    if "--kafka " in line and "stream status" not in line  # test_status.py runs that one
]


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_does_what_the_page_says(
    request: pytest.FixtureRequest,
    kafka: TestTopics,
    packets: list[bytes],
    page: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    topic = f"{kafka.name('ztf_20261129')}_programid1"
    kafka.send(kafka.make(topic), packets[:8])
    words = shlex.split(line.replace("HOST:9092", kafka.servers), comments=True)
    assert words[0] == "broker", (page, line)
    if words[1] == "relay":
        cloud: Cloud = request.getfixturevalue("pubsub")
        words[words.index("--publish") + 1] = f"pubsub:{Topic(cloud.project).name}"
    # It would read until it is told to end.
    assert cli.main([*words[1:], "--once"]) == 0
    assert ("relayed 8 messages" if words[1] == "relay" else "8 alerts") in capsys.readouterr().out


def test_the_pages_show_it() -> None:
    assert {page for page, _ in LINES} >= {"README.md", "docs/streaming.md"}
