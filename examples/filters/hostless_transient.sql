-- about: is some days old, and the template has no source within 12 pixels
-- surveys: ztf
-- reference: after the five lines of docs/features.md
SELECT features.age_history_days AS age_days, candidate.distnr_arcsec AS reference_arcsec
FROM alerts
WHERE features.age_history_days > 0.5 AND features.age_history_days < 15 AND features.age_jdstarthist_days < 30
  AND candidate.isdiffpos IS NOT NULL AND candidate.distnr_arcsec > 12 * 1.012 AND candidate.ssdistnr IS NULL
