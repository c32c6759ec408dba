"""Tables by their names."""

from __future__ import annotations

import pytest

from alerts.surveys import SURVEYS
from alerts.tables import own_tables, table_named
from schemas.tables import CROSSMATCHES, DEAD_LETTERS, RUNS


def test_every_table_of_the_vocabulary_has_its_name() -> None:
    for survey in SURVEYS.values():
        assert table_named(f"{survey.name}_alerts") is survey.alerts_table
        assert table_named(f"{survey.name}_cutouts") is survey.cutouts_table
        assert [table_named(f"{survey.name}_{what}") for what in ("alerts", "cutouts", "features")] == [*own_tables(survey)]
    assert [table_named(one) for one in ("crossmatches", "dead_letters", "runs")] == [CROSSMATCHES, DEAD_LETTERS, RUNS]


def test_a_name_of_no_table_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(ValueError, match=r"no table 'alerts'; known are ztf_alerts, .*dead_letters"):
        table_named("alerts")
