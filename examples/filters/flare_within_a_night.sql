-- about: changes by more than 1 mag a day within a night, and for an hour at least
-- surveys: ztf
-- reference: after Fink's filter for flares of M dwarfs, in ZTF's columns
SELECT features.g.night_rate_mag_per_day AS rate_g_mag_per_day, features.r.night_rate_mag_per_day AS rate_r_mag_per_day
FROM alerts
WHERE candidate.isdiffpos
  AND (ABS(features.g.night_rate_mag_per_day) > 1 AND features.g.night_rate_gap_days_mag > 0.04
    OR ABS(features.r.night_rate_mag_per_day) > 1 AND features.r.night_rate_gap_days_mag > 0.04)
  AND NOT COALESCE(candidate.ssdistnr < 5, FALSE)
