-- about: a first or second detection with nothing of the reference, Pan-STARRS or the Minor Planet Center near
-- surveys: ztf
-- reference: after Fink's candidates for new solar system objects
SELECT candidate.magpsf AS mag, features.elat_deg AS elat_deg
FROM alerts
WHERE candidate.isdiffpos AND candidate.ndethist <= 2 AND candidate.drb > 0.5 AND ABS(features.elat_deg) < 20
  AND COALESCE(candidate.distpsnr1 > 1, TRUE)
  AND COALESCE(candidate.distnr_arcsec > 1.5, TRUE)
  AND NOT COALESCE(candidate.ssdistnr < 5, FALSE)
