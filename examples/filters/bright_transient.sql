-- about: brighter than 18.5 mag, at least two positive detections, away from the Galaxy, not a star and not an asteroid
-- surveys: ztf
-- reference: after the Bright Transient Survey (Fremling et al. 2020) and AMPEL's RcfFilter
SELECT candidate.magpsf AS mag, features.glat_deg AS glat_deg, candidate.ndethist AS detections
FROM alerts
WHERE candidate.isdiffpos AND candidate.magpsf <= 18.5 AND candidate.ndethist >= 2 AND ABS(features.glat_deg) >= 7
  AND candidate.rb >= 0.2
  AND NOT COALESCE(candidate.neargaiabright < 20 AND candidate.maggaiabright < 12, FALSE)
  AND NOT COALESCE(candidate.sgscore1 > 0.76 AND candidate.distpsnr1 < 2, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 12, FALSE)
