"""The unit of systemd for a stream: systemd understands it, and its command is one of ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.options import RoundsOptions, parse
from tests.deploy.sources import ROOT

UNIT = (ROOT / "deploy" / "broker-stream.service").read_text(encoding="utf-8")
SETTINGS = dict(
    line.split("=", 1)
    for line in (ROOT / "deploy" / "stream.env").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)


def test_systemd_finds_no_fault_with_it(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: install systemd")
    unit = tmp_path / "broker-stream.service"
    # Where it stands only systemd's own machine has it.
    unit.write_text(UNIT.replace("/opt/pitt-broker/bin/broker", "/bin/true"))
    asked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert (asked.returncode, asked.stdout + asked.stderr) == (0, "")


def test_its_command_is_understood_with_the_settings_that_come_with_it() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    # As systemd does: a name in braces is one word, one without is as many as it has.
    filled = re.sub(
        r"\$\{(\w+)\}|\$(\w+)", lambda found: shlex.quote(SETTINGS[found[1]]) if found[1] else SETTINGS[found[2]], command
    )
    words = shlex.split(filled)
    assert words[:2] == ["/opt/pitt-broker/bin/broker", "ingest"]
    how = parse(words[2:]).view_as(RoundsOptions)
    assert (how.kafka, how.kafka_topic, how.metrics_port) == (SETTINGS["KAFKA"], SETTINGS["KAFKA_TOPIC"], "9464")
    assert set(SETTINGS) == set(re.findall(r"\$\{?(\w+)", command))
