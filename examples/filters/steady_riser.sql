-- about: brightens in r by more than five errors of the slope, from less than half of what it has now
-- surveys: ztf, lsst
-- reference: after the five lines of docs/features.md
SELECT features.r.slope_njy_per_day AS slope_njy_per_day, features.r.first_njy AS first_njy, features.r.last_njy AS last_njy
FROM alerts
WHERE features.r.slope_njy_per_day > 5 * features.r.slope_err_njy_per_day
  AND features.r.first_njy BETWEEN 0 AND features.r.last_njy / 2
  AND features.r.days_since_brightest_njy - features.r.days_since_last < 3
