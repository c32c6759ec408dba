"""The real service, off by default: ``pytest -m remote``.

With ``PITT_BROKER_RECORD=FOLDER`` each answer is kept there, as it came, with the question.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from alerts.catalogs.cds import client as cds
from alerts.catalogs.cds.client import CdsCatalog, Service
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.known import KNOWN
from alerts.catalogs.matching import within
from alerts.catalogs.spec import parse_spec
from tests.alerts.catalogs.stars import HD_189733, HD_209458, PEG_51

pytestmark = pytest.mark.remote


@pytest.fixture(autouse=True)
def recorded(request, monkeypatch):
    """Keep what is sent and what comes, where that is asked for."""
    folder = os.environ.get("PITT_BROKER_RECORD")
    if not folder:
        return
    real = cds.post

    def post(url, data, files, **settings):
        response, body = real(url, data, files, **settings)
        place = Path(folder, request.node.name.replace("/", "_"))
        place.mkdir(parents=True, exist_ok=True)
        number = len(list(place.glob("*.body")))
        (place / f"{number}.body").write_bytes(body)
        question = {"url": url, "form": data, "cat1": files["cat1"][1]}
        answer = {"status": response.status_code, "headers": dict(response.headers)}
        (place / f"{number}.json").write_text(json.dumps({**question, **answer}, indent=1, default=str))
        return response, body

    monkeypatch.setattr(cds, "post", post)


def catalog(name):
    return CdsCatalog(parse_spec(name, 5.0), Service(Gate(1), deadline_secs=60))


def near(one, places, radius_arcsec=5.0, epoch_jyear=None):
    ra, dec = (np.array(values, dtype=float) for values in zip(*places, strict=True))
    epochs = None if epoch_jyear is None else np.full(len(ra), epoch_jyear)
    found = one.search(ra, dec, radius_arcsec, epochs)
    return within(found, one.source_columns, ra, dec, radius_arcsec=radius_arcsec, epoch_jyear=epochs)


@pytest.mark.parametrize("name", list(KNOWN))
def test_the_service_has_the_columns_types_and_epochs_that_we_declare(name):
    """An answer that passes all checks, the canary's among them; nothing is at the second place."""
    places = [KNOWN[name].canary or HD_209458.at_2000, (0.0, -89.99)]
    answer = near(catalog(name), places)
    assert 0 in answer.position


def test_gaia_is_matched_at_2000_and_moved_as_we_move_it():
    one = catalog("vizier:I/355/gaiadr3")
    for star in (PEG_51, HD_189733, HD_209458):
        assert near(one, [star.at_2000], radius_arcsec=0.5).source_id.to_pylist() == [str(star.gaia)]
        assert near(one, [star.at_2016], 0.2, epoch_jyear=2016.0).source_id.to_pylist() == [str(star.gaia)]


def test_an_unlisted_catalog_declares_its_columns():
    answer = near(catalog("vizier:I/350/gaiaedr3"), [HD_209458.at_2000])
    assert len(answer.position) >= 1


def test_the_recorded_allwise_answer_is_still_the_answer(real_data):
    with (real_data / "catalogs/cds_xmatch_allwise/response.csv").open() as file:
        head, *rows = [line.rstrip("\n").split(",") for line in file][:101]
    recorded = [dict(zip(head, row, strict=True)) for row in rows]
    answer = near(catalog("vizier:II/328/allwise"), [(float(one["ra_in"]), float(one["dec_in"])) for one in recorded], 1.0)
    assert {one["AllWISE"] for one in recorded} <= set(answer.source_id.to_pylist())
