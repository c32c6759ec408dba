-- about: two positive detections at least 30 minutes apart in the packet, not on a star and not an asteroid
-- surveys: ztf
-- reference: after Pitt-Google's filter for extragalactic transients
SELECT candidate.jd AS jd, (SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos) AS earlier_detections
FROM alerts
WHERE candidate.isdiffpos
  AND EXISTS (SELECT 1 FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos AND candidate.jd - p.jd > 0.0208)
  AND NOT COALESCE(candidate.distpsnr1 < 1.5 AND candidate.sgscore1 >= 0.5, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 5, FALSE)
