"""The fast tests on another Python: which one is meant, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy import other_pythons
from deploy.other_pythons import FAST, ROOT, interpreter, main

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_a_python_is_found_on_the_path_and_shims_that_run_nothing_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, shim = tmp_path / f"python{HERE}", tmp_path / "python3.77"
    named.symlink_to(sys.executable)
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interpreter(HERE) == str(named)
    assert interpreter("3.77") is None


def test_a_version_that_is_not_here_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["3.77"]) == 1
    assert "no Python 3.77 is on this machine" in capsys.readouterr().err


def test_tests_that_fail_there_fail_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(other_pythons, "environment", lambda version, command: Path(sys.executable))
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_bad(): assert False\n")
    assert main([HERE, "--tests", str(tmp_path / "test_good.py")]) == 0
    assert main([HERE, "--tests", str(tmp_path)]) == 1
    assert f"not passed on Python {HERE}" in capfd.readouterr().err


def test_what_is_called_fast_is_there() -> None:
    assert all((ROOT / name).exists() for name in FAST)
