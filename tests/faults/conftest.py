"""Nights, emulators, and the table to which every test of this folder adds the row of its fault."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulators.fixtures import cloud, pubsub
from tests.faults import nights, table
from tests.faults.nights import Night
from tests.faults.runs import Verdict

__all__ = ["cloud", "pubsub"]

PAGE = "FAULTS_PAGE"
"""The environment variable that names a page to write the table into; without it the table is only printed."""
_BEGUN = time.monotonic()
_TEST_SECS = 1800
"""A test of this folder takes minutes, and more when the machine is busy; a hanging one takes for ever."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TEST_SECS))


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return nights.whole_night(tmp_path_factory)


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return nights.light_night(tmp_path_factory)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Add a row to the table: fault, times it struck, verdict, note. Told before it is judged, so that a loss is in it too."""

    def add(fault: str, struck: int, verdict: Verdict, note: str = "") -> None:
        assert verdict.records >= nights.ALERTS
        request.node.user_properties.append(table.Row.of(fault, struck, verdict, note).as_property())

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [one for found in terminalreporter.stats.values() for one in found if isinstance(one, pytest.TestReport)]
    told = {
        (report.location[0], report.location[1] or 0, values["fault"]): table.Row(**values)
        for report in reports
        for name, values in report.user_properties
        if name == table.PROPERTY
    }
    if not told:
        return
    text = table.text([told[key] for key in sorted(told)], time.monotonic() - _BEGUN)
    terminalreporter.section("faults")
    terminalreporter.write_line(text)
    if page := os.environ.get(PAGE):
        table.write(Path(page), text)
