-- about: a real, positive point source that is not a star, found for the first time within 20 detections
-- surveys: ztf
-- reference: after Fink's early supernova candidates, without its classifiers
SELECT candidate.magpsf AS mag, features.age_jdstarthist_days AS age_days
FROM alerts
WHERE candidate.isdiffpos AND candidate.drb > 0.5 AND candidate.classtar > 0.4 AND candidate.ndethist <= 20
  AND features.age_jdstarthist_days <= 90
  AND NOT COALESCE(candidate.sgscore1 > 0.76 AND candidate.distpsnr1 < 2, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 5, FALSE)
