-- about: a first detection with nothing of the reference image within 1.5 arcsec and no catalogued source within 5
-- surveys: ztf
-- reference: after Fink's filter for new hostless transients
SELECT candidate.magpsf AS mag, candidate.distnr_arcsec AS reference_arcsec
FROM alerts
WHERE candidate.isdiffpos AND candidate.ndethist = 1 AND candidate.drb > 0.5
  AND COALESCE(candidate.distnr_arcsec > 1.5, TRUE)
  AND COALESCE(candidate.distpsnr1 > 5, TRUE)
  AND NOT COALESCE(candidate.ssdistnr < 10, FALSE)
