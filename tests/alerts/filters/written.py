"""Conditions that filters are tested with: of ZTF, of LSST, and on rows of what values can be."""

from __future__ import annotations

from tests.alerts.filters.test_parse import CONDITIONS

GOOD = [condition for condition in CONDITIONS if "MAX(p.magpsf) - 1" not in condition]
OF_LSST = [
    "diaSource.psfFlux / diaSource.psfFluxErr > 5 AND NOT diaSource.isDipole",
    "diaSource.reliability > 0.5 OR diaSource.snr > 10",
    "diaSource.band IN ('g', 'r') AND diaSource.psfFlux > 0",
    "diaSource.ssObjectId IS NULL AND diaSource.diaObjectId > 0",
    "ARRAY_LENGTH(prvDiaSources) > 1",
    "(SELECT COUNT(*) FROM UNNEST(prvDiaSources) AS p WHERE p.psfFlux > 0 AND p.band = diaSource.band) >= 1",
    "(SELECT COUNT(*) FROM UNNEST(prvDiaForcedSources) AS p WHERE p.psfFlux / p.psfFluxErr > 3) > 2",
    "(SELECT MAX(p.psfFlux) FROM UNNEST(prvDiaSources) AS p) < diaSource.psfFlux",
    "(SELECT STDDEV(p.psfFlux) FROM UNNEST(prvDiaSources) AS p) > (SELECT AVG(p.psfFluxErr) FROM UNNEST(prvDiaSources) AS p)",
    "(SELECT p.psfFlux FROM UNNEST(prvDiaSources) AS p ORDER BY p.midpointMjdTai DESC LIMIT 1) > 1000",
    "diaSource.midpointMjdTai - (SELECT MIN(p.midpointMjdTai) FROM UNNEST(prvDiaSources) AS p) < 5",
    "31.4 - 2.5 * LOG10(diaSource.psfFlux) < 22",
    "features.g.n_detections > 1 OR features.r.mean_njy > 0 OR features.age_history_days < 10",
    "COALESCE(diaObject.nDiaSources, 0) > 2",
    "ABS(features.glat_deg) > 20 AND diaSource.extendedness < 0.5",
    "object_kind = 'diaObject' AND night > DATE '2020-01-01'",
]
ODD = [
    *("candidate.ra + candidate.dec > 1", "candidate.ra / candidate.dec > 1", "SQRT(candidate.ra) > 1", "LN(candidate.ra) < 1"),
    *("candidate.ra * candidate.dec > 0", "EXP(candidate.ra) > 1", "POW(candidate.ra, candidate.dec) > 1", "-candidate.ra < 0"),
    *(
        "candidate.fid + candidate.rcid > 0",
        "candidate.fid * candidate.rcid > 0",
        "ABS(candidate.fid) >= 0",
        "-candidate.fid < 0",
    ),
    *("candidate.fid - candidate.rcid > 0", "MOD(candidate.fid, candidate.rcid) = 0", "candidate.fid > candidate.ra"),
    *("NOT candidate.isdiffpos", "candidate.isdiffpos OR candidate.ra > 1", "candidate.isdiffpos AND candidate.ra > 1"),
    *("candidate.isdiffpos IS NULL", "candidate.isdiffpos IS NOT TRUE", "candidate.ra IS NULL", "candidate.ssnamenr IS NOT NULL"),
    *("COALESCE(candidate.ra > 1, candidate.dec > 1, FALSE)", "NULLIF(candidate.ra, 1) > 0", "candidate.ra IN (0, 1.0, 2.5)"),
    *("LEAST(candidate.ra, candidate.dec) < 1", "GREATEST(candidate.fid, candidate.ra) > 1", "candidate.ssdistnr < 1"),
    *("candidate.distnr_arcsec > 1", "night < DATE '2026-01-02'", "observed_at = TIMESTAMP '2026-01-01'", "candid > 5"),
    *(
        "object_id LIKE 'z%'",
        "LOWER(object_id) = 'Äb'",
        "STARTS_WITH(object_id, 'ZTF')",
        "object_id IN ('', 'x')",
        "object_id < 'a'",
    ),
    "CASE WHEN candidate.ra > 1 THEN candidate.fid WHEN candidate.dec > 1 THEN candidate.dec END > 0",
    "IF(candidate.isdiffpos, candidate.ra, NULL) > 0",
    "candidate.ra BETWEEN candidate.dec AND 2",
    *(
        f"(SELECT {name}(p.magpsf) FROM UNNEST(prv_candidates) AS p) > 0"
        for name in ("MIN", "MAX", "SUM", "AVG", "STDDEV", "COUNT")
    ),
    *(f"(SELECT {name}(p.fid) FROM UNNEST(prv_candidates) AS p) >= 0" for name in ("MIN", "MAX", "AVG", "STDDEV")),
    "(SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos AND p.jd > 0) >= 1",
    "(SELECT COUNTIF(p.isdiffpos) FROM UNNEST(prv_candidates) AS p WHERE p.ra > candidate.ra) >= 1",
    "(SELECT LOGICAL_OR(p.isdiffpos) FROM UNNEST(prv_candidates) AS p)",
    "(SELECT LOGICAL_AND(p.isdiffpos) FROM UNNEST(prv_candidates) AS p)",
    "(SELECT p.magpsf FROM UNNEST(prv_candidates) AS p ORDER BY p.jd LIMIT 1) > 0",
    "(SELECT p.magpsf FROM UNNEST(prv_candidates) AS p WHERE p.fid = 1 ORDER BY p.jd DESC LIMIT 1) > 0",
    "EXISTS(SELECT 1 FROM UNNEST(prv_candidates) AS p WHERE p.magpsf > candidate.magpsf)",
    "ARRAY_LENGTH(prv_candidates) = 0",
    "features.g.n_detections > 1 OR TRUE",
]
