"""The one table of definitions: names, units and NULLs hold for what is computed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from alerts.features.compute import features_of
from alerts.features.definition import POINTS
from alerts.features.definitions import Definition, columns, of_alerts, of_bands
from alerts.features.describe import main, markdown
from alerts.surveys import SURVEYS
from tests.alerts.features.made import MADE, batch

UNITS = {"1", "d", "mag", "nJy", "mag/d", "nJy/d", "deg"}
COUNTED_BY = {"detections": "n_detections", "magnitudes": "n_mag", "forced": "n_forced"}


def made(survey: str) -> list[dict[str, Any]]:
    return features_of(batch(MADE[survey](400, seed=5), SURVEYS[survey]), SURVEYS[survey]).to_pylist()


@pytest.mark.parametrize("survey", SURVEYS.values(), ids=list(SURVEYS))
def test_names_are_no_others_in_any_case_of_letters(survey) -> None:
    # A survey that has its bands as text has to say which.
    assert "?" not in survey.photometry.band_names
    for names in ([known.name for known in of_bands(survey)], [column.name for column in columns(survey)]):
        assert [name for name, count in Counter(name.casefold() for name in names).items() if count > 1] == []


@pytest.mark.parametrize("survey", SURVEYS.values(), ids=list(SURVEYS))
def test_each_says_its_unit_and_what_it_is_made_of(survey) -> None:
    for known in (*of_bands(survey), *of_alerts(survey)):
        assert known.unit in UNITS
        assert known.points in POINTS
        assert known.type == ("INT64" if known.name.startswith("n_") else "FLOAT64")
        assert ends_in_its_unit(known), known.name
        assert known.name.endswith("_forced") == ("forced" in known.points)
        # A change of brightness has a sign that is easily mistaken.
        assert known.sign or "_rate_" not in known.name or "_err_" in known.name
        assert f"NULL: {known.means_null}." in known.description
        assert known.formula[0].isupper() or known.formula.startswith(("sqrt(", "sum(", "(", "-", "1 sigma", *"ugrizyYJHK"))


def ends_in_its_unit(known: Definition) -> bool:
    name = known.name.removesuffix("_forced")
    if known.unit == "d":
        # Where a survey's name of a moment, or of the kind of points, stands behind it.
        return "days" in name
    ends = {"mag": "_mag", "nJy": "_njy", "mag/d": "_mag_per_day", "nJy/d": "_njy_per_day", "deg": "_deg"}
    return known.unit == "1" or name.removesuffix("_at_least").removesuffix("_err").endswith(ends[known.unit])


def test_magnitudes_fade_where_fluxes_brighten() -> None:
    signs = {known.name: known.sign for known in of_bands(SURVEYS["ztf"])}
    for rate in ("slope", "last_rate", "night_rate"):
        assert signs[f"{rate}_mag_per_day"] == "positive: fading"
        assert signs[f"{rate}_njy_per_day"] == signs[f"{rate}_njy_per_day_forced"] == "positive: brightening"
    assert signs["rise_mag_per_day_at_least"].startswith("positive: brightening")


@pytest.mark.parametrize("survey", MADE)
def test_columns_are_what_is_computed(survey: str) -> None:
    found = features_of(batch(MADE[survey](3, seed=1), SURVEYS[survey]), SURVEYS[survey])
    assert [column.arrow for column in columns(SURVEYS[survey])] == [*found.schema]
    assert found.schema.field("r").type.field("span_days").metadata[b"description"].endswith(b"NULL: no such point.")
    found.validate(full=True)


@pytest.mark.parametrize("survey", MADE)
def test_with_fewer_points_it_is_null_and_with_enough_it_can_be_told(survey: str) -> None:
    rows = made(survey)
    for known in of_bands(SURVEYS[survey]):
        told = [row[band] for row in rows for band in SURVEYS[survey].photometry.band_names if row[band][known.name] is not None]
        assert told, f"{known.name} is never told"
        if known.points in COUNTED_BY:
            assert min(values[COUNTED_BY[known.points]] for values in told) >= known.least
        if known.least == 0:
            assert len(told) == len(rows) * len(SURVEYS[survey].photometry.band_names)
    for known in of_alerts(SURVEYS[survey]):
        assert any(row[known.name] is not None for row in rows), f"{known.name} is never told"


def test_fluxes_are_not_told_where_nobody_knows_the_system() -> None:
    names = {known.name for known in of_bands(SURVEYS["winter"])}
    assert {"n_detections", "span_days", "slope_mag_per_day"} <= names
    assert [name for name in names if "njy" in name] == []


def test_names_that_filters_use_stay() -> None:
    of_band = {known.name for known in of_bands(SURVEYS["ztf"])}
    assert {"n_detections", "n_negative", "n_limits", "n_forced", "span_days", "span_days_forced"} <= of_band
    assert {"slope_mag_per_day", "slope_njy_per_day", "slope_njy_per_day_forced", "rise_mag_per_day_at_least"} <= of_band
    assert {"last_rate_mag_per_day", "last_rate_gap_days_mag", "days_since_brightest_mag", "days_to_brightest_mag"} <= of_band
    alone = {known.name for known in of_alerts(SURVEYS["ztf"])}
    assert {"age_history_days", "age_jdstarthist_days", "glat_deg", "elat_deg", "color_g_r_mag", "n_bands"} <= alone
    # There is no age without a word that says of what.
    assert "age_days" not in alone


def test_descriptions_fit_bigquery() -> None:
    # https://cloud.google.com/bigquery/quotas: a column's description has at most 1,024 characters.
    texts = [known.description for survey in SURVEYS.values() for known in (*of_bands(survey), *of_alerts(survey))]
    assert max(map(len, texts)) <= 1024


def test_surveys_say_their_own_age_and_limits() -> None:
    assert "age_jdstarthist_days" in {known.name for known in of_alerts(SURVEYS["ztf"])}
    assert {"rise_mag_per_day_at_least", "n_limits"} <= {known.name for known in of_bands(SURVEYS["pgir"])}
    assert "n_limits" not in {known.name for known in of_bands(SURVEYS["lsst"])}
    assert "n_forced" not in {known.name for known in of_bands(SURVEYS["pgir"])}


def test_the_page_has_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    page = markdown(SURVEYS["ztf"])
    for known in (*of_bands(SURVEYS["ztf"]), *of_alerts(SURVEYS["ztf"])):
        assert f"\n| `{known.name}` | {known.unit} |" in page
    assert main(["ztf", "lsst"]) == 0
    assert capsys.readouterr().out == f"{page}\n\n{markdown(SURVEYS['lsst'])}\n"


def test_a_survey_that_there_is_not_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nope"]) == 2
    assert "survey 'nope' is not known" in capsys.readouterr().err
