-- about: fades steadily in r since its first day, by more than five errors of the slope, and was never below the template
-- surveys: ztf, lsst
-- reference: after the five lines of docs/features.md
SELECT features.r.slope_mag_per_day AS slope_mag_per_day, features.r.slope_err_mag_per_day AS slope_err_mag_per_day
FROM alerts
WHERE features.r.slope_mag_per_day > 5 * features.r.slope_err_mag_per_day
  AND features.r.days_to_brightest_mag < 1 AND features.r.n_negative = 0
