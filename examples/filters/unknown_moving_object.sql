-- about: was never seen at its place before, where the template has no source within 12 pixels and no asteroid is known
-- surveys: ztf
-- reference: after the five lines of docs/features.md
SELECT features.elat_deg AS elat_deg, candidate.distnr_arcsec AS reference_arcsec
FROM alerts
WHERE features.age_history_days < 0.5 AND features.age_jdstarthist_days < 0.5
  AND candidate.distnr_arcsec > 12 * 1.012 AND candidate.ssdistnr IS NULL
