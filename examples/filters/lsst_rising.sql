-- about: brightens by three times its error or more in a band, above its mean
-- surveys: lsst
-- reference: after Fink's filter for rising transients brighter than 20 mag
SELECT features.r.slope_njy_per_day AS slope_r_njy_per_day, features.g.slope_njy_per_day AS slope_g_njy_per_day
FROM alerts
WHERE diaSource.psfFlux > 0
  AND (features.r.slope_njy_per_day > 3 * features.r.slope_err_njy_per_day AND features.r.last_njy > features.r.mean_njy
    OR features.g.slope_njy_per_day > 3 * features.g.slope_err_njy_per_day AND features.g.last_njy > features.g.mean_njy)
