"""``docs/operations.md`` against the metrics as they are."""

from __future__ import annotations

import re

from tests.deploy.sources import ROOT
from transforms.metrics import METRICS, Distribution

PAGE = (ROOT / "docs" / "operations.md").read_text()
NAMES = {one.name: one for one in METRICS}
GOOGLES = re.compile(r"(dataflow|pubsub)\.googleapis\.com/(job|subscription)/[a-z_]+")


def section(heading: str) -> str:
    return PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]


def table(heading: str) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def test_every_metric_is_on_the_page_as_it_is_and_no_other() -> None:
    expected = [[f"`{one.name}`", one.kind, one.unit, one.label, one.meaning] for one in METRICS]
    shown = "\n".join(f"| {' | '.join(cells)} |" for cells in expected)
    assert table("Metrics of the pipeline") == expected, f"the table should be:\n{shown}"


def test_alarms_are_about_metrics_that_exist() -> None:
    alarms = table("Alarms")
    assert len(alarms) >= 12
    for name, condition, meaning, remedy in alarms:
        assert meaning, name
        assert remedy, name
        words = re.findall(r"`([^`]+)`", condition)
        ours = [word for word in words if not GOOGLES.fullmatch(word) and not word.startswith("--")]
        for word in ours:
            if word in ("num_undelivered_messages", "file_loads", "crossmatch_..."):
                continue
            full = re.sub(r"_(MEAN|MIN|MAX|COUNT)$", "", word)
            metric, _, label = full.partition(" ")
            assert metric in NAMES, f"{name}: {word} is no metric"
            assert (full != word) == isinstance(NAMES[metric], Distribution), f"{name}: {word} is a distribution, or none"
            assert not label or NAMES[metric].label, f"{name}: {word} has no label"
        assert ours or GOOGLES.search(condition), f"{name} has no metric"


def test_every_metric_that_tells_of_trouble_has_an_alarm() -> None:
    conditions = " ".join(row[1] for row in table("Alarms"))
    trouble = {
        "dead_letters",
        "rows_refused",
        "crossmatch_failed",
        "one_by_one",
        "unknown_field",
        "off_the_sky",
        "features_failed",
        "filter_not_asked",
    }
    assert trouble <= NAMES.keys()
    assert [name for name in trouble if f"`{name}" not in conditions] == []
