-- about: fainter than the reference on a catalogued star
-- surveys: ztf
-- reference: after AMPEL's StellarFilter, with the sign turned round
SELECT candidate.magpsf AS difference_mag, candidate.magnr AS reference_mag, candidate.sgscore1 AS star_score
FROM alerts
WHERE NOT candidate.isdiffpos AND candidate.sgscore1 > 0.76 AND candidate.distpsnr1 < 1 AND candidate.distnr_arcsec < 1
  AND candidate.magpsf - candidate.magnr < 1
