-- about: has become brighter by more than 0.2 mag a day within a band, by at least two detections or against the last limit
-- surveys: ztf
-- reference: after BOOM's filter for fast transients
SELECT features.g.last_rate_mag_per_day AS rate_g_mag_per_day, features.r.last_rate_mag_per_day AS rate_r_mag_per_day, features.age_jdstarthist_days AS age_days
FROM alerts
WHERE candidate.isdiffpos AND candidate.drb > 0.5 AND candidate.rb > 0.3
  AND features.age_jdstarthist_days < 7
  AND (features.g.last_rate_mag_per_day < -0.2 OR features.r.last_rate_mag_per_day < -0.2
    OR features.g.rise_mag_per_day_at_least < -0.2 OR features.r.rise_mag_per_day_at_least < -0.2)
  AND NOT COALESCE(candidate.sgscore1 > 0.76 AND candidate.distpsnr1 < 2, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 12, FALSE)
