"""Pinned packages with a known vulnerability are found, by the real pip-audit and a stand-in for osv.dev."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.audit_dependencies import CONSTRAINTS, main
from tests.emulators.http_server import Handler, serving

pytest.importorskip("pip_audit", reason="no pip-audit: pip install --constraint constraints.txt '.[test]'")


@dataclass
class Advisories:
    """Answers as OSV's query service does (https://google.github.io/osv.dev/post-v1-query/)."""

    url: str = ""
    status: int = 200
    vulnerable: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        name = query["package"]["name"]
        self.asked.append(f"{name}=={query['version']}")
        if name not in self.vulnerable:
            return {}
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": self.vulnerable[name]}]}],
        }
        return {
            "vulns": [{"id": "GHSA-0000-0000-0001", "aliases": ["CVE-2026-0001"], "details": "made up", "affected": [affected]}]
        }


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    state = Advisories()

    class Answers(Handler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(state.answer(query)).encode()
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Answers) as url:
        state.url = f"{url}/v1/query"
        yield state


def test_every_pinned_package_is_asked_about(advisories: Advisories, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--advisories", advisories.url]) == 0
    pinned = [line for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    assert len(pinned) > 100
    assert len(advisories.asked) == len(pinned)
    assert f"{len(pinned)} packages, 0 known vulnerabilities" in capsys.readouterr().out


def test_a_vulnerability_fails_it_and_is_named(
    advisories: Advisories, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = tmp_path / "constraints.txt"
    pinned.write_text("fastavro==1.10.0\nnumpy==2.0.0\n")
    advisories.vulnerable = {"fastavro": "1.10.1"}
    assert main(["--advisories", advisories.url, "--constraints", str(pinned)]) == 1
    out = capsys.readouterr().out
    assert "fastavro 1.10.0: CVE-2026-0001, GHSA-0000-0000-0001, fixed in 1.10.1" in out
    assert "2 packages, 1 known vulnerabilities" in out


@pytest.mark.parametrize(
    ("flags", "status", "more"), [([], 1, "; where that is known, give --unreachable_ok"), (["--unreachable_ok"], 0, "")]
)
def test_where_nobody_can_be_asked_it_fails_unless_that_is_known(
    flags: list[str], status: int, more: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = tmp_path / "constraints.txt"
    pinned.write_text("fastavro==1.10.0\n")
    assert main(["--advisories", "http://127.0.0.1:9/v1/query", "--constraints", str(pinned), *flags]) == status
    said = capsys.readouterr()
    assert said.err == f"NOTHING WAS AUDITED: http://127.0.0.1:9/v1/query cannot be reached from here{more}\n"
    assert said.out == ""


def test_what_is_known_to_be_out_of_reach_hides_no_vulnerability(advisories: Advisories, tmp_path: Path) -> None:
    pinned = tmp_path / "constraints.txt"
    pinned.write_text("fastavro==1.10.0\n")
    advisories.vulnerable = {"fastavro": "1.10.1"}
    assert main(["--advisories", advisories.url, "--constraints", str(pinned), "--unreachable_ok"]) == 1


def test_what_else_goes_wrong_is_no_silence(advisories: Advisories, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pinned = tmp_path / "constraints.txt"
    pinned.write_text("fastavro>=1.10.0\n")
    assert main(["--advisories", advisories.url, "--constraints", str(pinned)]) == 1
    assert "pip-audit failed" in capsys.readouterr().err
