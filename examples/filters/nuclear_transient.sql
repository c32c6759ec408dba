-- about: within 0.6 arcsec of a source of the reference that is no star
-- surveys: ztf
-- reference: after ANTARES' filter for nuclear transients
SELECT candidate.distnr_arcsec AS reference_arcsec, candidate.sgscore1 AS star_score, candidate.magpsf - candidate.magnr AS magpsf_minus_magnr
FROM alerts
WHERE candidate.isdiffpos AND candidate.distnr_arcsec < 0.6 AND candidate.distpsnr1 < 1 AND candidate.sgscore1 < 0.3
  AND candidate.magpsf - candidate.magnr < 1.5
