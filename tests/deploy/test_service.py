"""The units of systemd for a stream and for its outbox: systemd understands them, and their commands are ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker import cli
from pipelines.options import RoundsOptions, parse
from tests.deploy.sources import ROOT
from tests.pipelines.test_sending import add, hit, ids


def unit_of(name: str) -> str:
    return (ROOT / "deploy" / name).read_text(encoding="utf-8")


def settings_of(name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit_of(name).splitlines() if not line.startswith("#"))


def words_of(unit: str, settings: dict[str, str]) -> list[str]:
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert set(settings) == set(re.findall(r"\$\{?(\w+)", command))
    # As systemd does: a name in braces is one word, one without is as many as it has.
    filled = re.sub(
        r"\$\{(\w+)\}|\$(\w+)", lambda found: shlex.quote(settings[found[1]]) if found[1] else settings[found[2]], command
    )
    return shlex.split(filled)


@pytest.mark.parametrize("names", [["broker-stream.service"], ["broker-outbox.service", "broker-outbox.timer"]])
def test_systemd_finds_no_fault_with_them(names: list[str], tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: install systemd")
    for name in names:
        # Where it stands only systemd's own machine has it.
        (tmp_path / name).write_text(unit_of(name).replace("/opt/pitt-broker/bin/broker", "/bin/true"))
    verify = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in names)]
    asked = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (asked.returncode, asked.stdout + asked.stderr) == (0, "")


def test_the_stream_s_command_is_understood_with_the_settings_that_come_with_it() -> None:
    settings = settings_of("stream.env")
    words = words_of(unit_of("broker-stream.service"), settings)
    assert words[:2] == ["/opt/pitt-broker/bin/broker", "ingest"]
    how = parse(words[2:]).view_as(RoundsOptions)
    assert (how.kafka, how.kafka_topic, how.metrics_port) == (settings["KAFKA"], settings["KAFKA_TOPIC"], "9464")


def test_the_outbox_s_command_sends_what_waits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = settings_of("outbox.env") | {"WAREHOUSE": str(tmp_path / "w")}
    words = words_of(unit_of("broker-outbox.service"), settings)
    topic = f"folder:{tmp_path}/hits"
    now = datetime.now(UTC)
    old, new, due = ({**hit(topic, number), "written_at": now - timedelta(secs)} for number, secs in ((1, 3), (2, 0), (3, 1)))
    add(str(tmp_path / "w"), old, new, due)
    assert words[0] == "/opt/pitt-broker/bin/broker"
    assert cli.main(words[1:]) == 0
    # Of days ago, and of just now, are others'.
    assert f"{topic}: 1 sent" in capfd.readouterr().out
    assert ids(tmp_path / "hits") == [due["id"]]
    assert (tmp_path / "hits" / "_manifest").is_dir()
    assert cli.main(["publish", "--outbox", "--warehouse", str(tmp_path / "w")]) == 0
    assert f"{topic}: 2 sent" in capfd.readouterr().out
