-- about: the strictest cuts that the survey itself recommends for a pure sample
-- surveys: ztf
-- reference: after IPAC's note on filtering alerts (ztf-avro-alert)
SELECT candidate.rb AS rb, candidate.fwhm AS fwhm_pixels, candidate.magdiff AS magdiff
FROM alerts
WHERE candidate.isdiffpos AND candidate.rb >= 0.65 AND candidate.nbad = 0 AND candidate.fwhm <= 5 AND candidate.elong <= 1.2
  AND ABS(candidate.magdiff) <= 0.1
