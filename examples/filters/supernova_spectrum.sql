-- about: a good target for a spectrum: well measured, beside its host and away from catalogued stars
-- surveys: ztf
-- reference: after ANTARES' filter of the REFITT group
-- What has no source of the reference near is not asked for: the host is what the spectrum is taken beside.
SELECT candidate.magpsf AS mag, candidate.distnr_arcsec AS reference_arcsec
FROM alerts
WHERE candidate.isdiffpos AND candidate.sigmapsf < 0.2 AND candidate.distnr_arcsec > 1
  AND COALESCE(candidate.distpsnr1 > 2, TRUE)
