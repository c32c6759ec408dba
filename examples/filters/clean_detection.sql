-- about: a detection whose image leaves no doubt: round, sharp, the same by aperture and by the point-spread function
-- surveys: ztf
-- reference: after AMPEL's DecentFilter (Nordin et al. 2019)
SELECT candidate.magpsf AS mag, candidate.fwhm AS fwhm_pixels, candidate.elong AS elongation
FROM alerts
WHERE candidate.isdiffpos AND candidate.drb > 0.5 AND candidate.rb > 0.3 AND candidate.nbad = 0
  AND candidate.fwhm <= 5.5 AND candidate.elong <= 1.4 AND ABS(candidate.magdiff) <= 1
  AND ABS(features.glat_deg) >= 14
  AND NOT COALESCE(candidate.ssdistnr < 20, FALSE)
