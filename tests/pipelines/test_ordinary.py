"""Beam does not take our pipelines for interactive ones, and others are left alone."""

from __future__ import annotations

import threading
from pathlib import Path

import apache_beam
import pytest

from pipelines.ordinary import ASKING, ordinary_pipeline


@pytest.fixture
def in_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ASKING:
        # Beam's own names: where an upgrade moves them, this must be looked at again.
        assert callable(module.is_in_ipython)
        monkeypatch.setattr(module, "is_in_ipython", lambda: True)


@pytest.mark.usefixtures("in_ipython")
def test_beam_is_told_that_there_is_no_ipython_for_our_pipelines_only() -> None:
    elsewhere: list[bool] = []
    with ordinary_pipeline(), ordinary_pipeline():
        assert [module.is_in_ipython() for module in ASKING] == [False] * 3
        # A pipeline that a person builds in another thread meanwhile.
        thread = threading.Thread(target=lambda: elsewhere.append(ASKING[0].is_in_ipython()))
        thread.start()
        thread.join(10)
    assert elsewhere == [True]
    assert [module.is_in_ipython() for module in ASKING] == [True] * 3


def test_beams_modules_that_ask_for_ipython_are_these() -> None:
    root = Path(apache_beam.__file__).parent
    asking = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "is_in_ipython(" in path.read_text(encoding="utf-8", errors="replace") and not path.name.endswith("_test.py")
    }
    assert {one for one in asking if not one.startswith("runners/interactive/")} == {
        f"{module.__name__.removeprefix('apache_beam.').replace('.', '/')}.py" for module in ASKING
    }
