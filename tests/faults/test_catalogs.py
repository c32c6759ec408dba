"""Catalogs that are down, slow or lying while a night is ingested, and asked again when they are well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from alerts.catalogs.cds import gate
from alerts.catalogs.known import KNOWN
from pipelines import rematch
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer
from tests.crossmatching import ALLWISE, as_allwise
from tests.faults.nights import ALERTS, Night
from tests.faults.runs import audit
from tests.nights import ask, rows, run

pytestmark = pytest.mark.faults

DOWN = [Fault("503"), Fault("closed"), Fault("html_in_200")]
SLOW = [Fault("slow", secs=20), Fault("hanging"), Fault("dripping_body", secs=0.1)]
LYING = [Fault("empty"), Fault("shifted_index"), Fault("truncated", rows=3), Fault("outside_radius"), Fault("cut_at_line")]
ANSWERS = "SELECT alert_id, status, radius_arcsec, matches FROM crossmatches_unique WHERE catalog = '{}' ORDER BY ALL"


@pytest.mark.parametrize(("what", "faults"), [("down", DOWN), ("slow", SLOW), ("lying", LYING)])
def test_folder(
    what: str,
    faults: list[Fault],
    light: Night,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Callable[..., None],
) -> None:
    """One catalog under as many names as there are faults, each failing in its own way, and under one that does not fail."""
    names = {fault.kind: f"X/2/{fault.kind}" for fault in faults} | {"well": "X/2/well"}
    monkeypatch.setattr(gate, "FIRST_PAUSE_SECS", 0.1)
    for name in names.values():
        monkeypatch.setitem(KNOWN, f"vizier:{name}", KNOWN[ALLWISE])
    stars = as_allwise(pq.read_table(light.folder / "catalog.parquet"))
    warehouse, without = tmp_path / "warehouse", tmp_path / "without"
    assert run(without, light.archive) == 0
    with CatalogServer(dict.fromkeys(names.values(), stars)) as server:
        named = [word for one in names.values() for word in ("--crossmatch", f"vizier:{one}")]
        service = ("--crossmatch_url", server.url, "--crossmatch_deadline_secs", "1.5")
        server.fail(*(replace(fault, only=names[fault.kind]) for fault in faults))
        assert run(warehouse, light.archive, flags=(*named, *service)) == 0
        struck = sum(call.catalog != names["well"] for call in server.calls)
        assert rows(warehouse, "ztf_alerts").equals(rows(without, "ztf_alerts"))
        between = audit("--input", light.archive, "--warehouse", warehouse)
        assert between.faults == {"failed_crossmatch": ALERTS * len(faults)}
        server.heal()
        assert rematch.run(["--warehouse", str(warehouse), "--crossmatch_url", server.url]) == 0
    undisturbed = ask(warehouse, ANSWERS.format(f"vizier:{names['well']}"))
    assert {row[1] for row in undisturbed} == {"matched", "no_match"}
    for name in names.values():
        assert ask(warehouse, ANSWERS.format(f"vizier:{name}")) == undisturbed
    verdict = audit("--input", light.archive, "--warehouse", warehouse, *named)
    kinds = ", ".join(fault.kind.replace("_", " ") for fault in faults)
    note = f"{kinds}: no alert missing meanwhile; after `broker rematch` as undisturbed"
    tell(f"catalogs {what}, folder", struck, verdict, note)
    verdict.must_be_whole()
