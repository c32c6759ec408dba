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
    # Where an engine, or numpy, does otherwise by itself.
    *(f"(SELECT p.{name} FROM UNNEST(prv_candidates) AS p ORDER BY p.fid DESC LIMIT 1) > 0" for name in ("fid", "magpsf")),
    "(SELECT p.magpsf FROM UNNEST(prv_candidates) AS p ORDER BY 1 LIMIT 1) > 0",
    "candidate.ndethist = 9223372036854775807.0",
    "candidate.ndethist IN (0, 1.5, 9223372036854775806)",
    "candidate.ndethist IN (0, 1.5, 2, 3, 4, 5, 6, 7, 8, 9223372036854775806)",
    "NULLIF(candidate.ndethist, 9223372036854775807.0) > 0",
    "candidate.ndethist + 1 > 0 OR candidate.ndethist - 2 < 0",
    "candidate.ndethist * candidate.fid - candidate.rcid < 9",
    "MOD(candidate.ndethist, -1) = 0",
    "(SELECT SUM(p.fid) FROM UNNEST(prv_candidates) AS p) > 0",
    "(SELECT AVG(p.fid) FROM UNNEST(prv_candidates) AS p) = (SELECT MAX(p.fid) FROM UNNEST(prv_candidates) AS p)",
    "(SELECT STDDEV(0.1) FROM UNNEST(prv_candidates) AS p) = 0",
    "(SELECT AVG(0.1) FROM UNNEST(prv_candidates) AS p) = 0.1",
    *("ATAN2(candidate.ra, candidate.dec) > 0", "ATAN2(0, -candidate.ra) > 1", "EXP(candidate.ra) < 2", "1 / candidate.ra >= 0"),
    *(
        "TAN(candidate.ra) > 0",
        "POW(2, candidate.ra) < 1",
        "POW(candidate.ra, 0) = 1",
        "LOG10(candidate.ra) > 0",
        "CEIL(candidate.ra) > 1",
    ),
    *(
        "candidate.distnr_arcsec > 1e308",
        "FLOOR(candidate.fid / 2) >= 0",
        "0.1 + 0.2 = 0.3 OR candidate.ra > 1",
        "candidate.ra = 0.1",
    ),
    "NULL OR candidate.ra > 1",
    "IF(NULL, TRUE, candidate.ra > 1)",
    "(NOT NULL) IS NULL AND LOWER(NULL) IS NULL AND (NULL LIKE 'a') IS NULL AND candidate.ra > 1",
    "(SELECT COUNTIF(NULL) FROM UNNEST(prv_candidates) AS p WHERE NULL) = 0",
    "(SELECT LOGICAL_OR(NULL) FROM UNNEST(prv_candidates) AS p) IS NULL",
    "candidate.isdiffpos = NULL OR candidate.ra > 1",
    *(
        "object_id NOT LIKE 'z%'",
        "object_id LIKE '%\\'%'",
        "UPPER(object_id) = 'ZTF18AAA'",
        "SAFE_CAST(object_id AS FLOAT64) > 1",
    ),
    "ABS((SELECT MIN(p.magpsf) FROM UNNEST(prv_candidates) AS p)) > 1",
    *(
        "night = DATE '9999-12-31'",
        "observed_at >= TIMESTAMP '9999-12-31 23:59:59.999999'",
        "observed_at > TIMESTAMP '0001-01-01'",
    ),
    "observed_at < TIMESTAMP '1969-12-31 23:59:59.000002'",
    "(SELECT MAX(m.asked_at) FROM UNNEST(matches) AS m) > TIMESTAMP '2021-01-01 00:00:00+14:00'",
    *(
        f"EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE {asked})"
        for asked in (
            "JSON_VALUE(s.columns, '$.plx') IN ('7', '7.0', '5.5', '0.0001', '1e16', '18446744073709551615')",
            "JSON_VALUE(s.columns, '$.plx') = '123456789.125'",
            "JSON_VALUE(s.columns, '$.plx') IS NULL AND s.separation_arcsec < 3",
            "SAFE_CAST(JSON_VALUE(s.columns, '$.plx') AS FLOAT64) > 6",
            "SAFE_CAST(JSON_VALUE(s.columns, '$.plx') AS FLOAT64) < 0",
            "JSON_VALUE(s.columns, '$.otype') IN ('true', 'Star')",
        )
    ),
]
