-- about: fades by more than 0.3 mag a day over half a day or more; young, positive, no star within 2 arcsec, no asteroid within 10
-- surveys: ztf
-- reference: after Andreoni et al. 2021 and Fink's rate-based kilonova filter
SELECT features.r.slope_mag_per_day AS fade_r_mag_per_day, features.g.slope_mag_per_day AS fade_g_mag_per_day, features.age_jdstarthist_days AS age_days
FROM alerts
WHERE candidate.isdiffpos AND candidate.drb > 0.9 AND candidate.ndethist < 20
  AND features.age_jdstarthist_days < 5 AND ABS(features.glat_deg) > 10
  AND (features.r.span_days_mag > 0.5 AND features.r.slope_mag_per_day > 0.3
    OR features.g.span_days_mag > 0.5 AND features.g.slope_mag_per_day > 0.3)
  AND NOT COALESCE(candidate.sgscore1 > 0.76 AND candidate.distpsnr1 < 2, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 10, FALSE)
