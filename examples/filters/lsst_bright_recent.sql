-- about: brighter than 18.9 mag in g or r within a week, detected more than once
-- surveys: lsst
-- reference: after Lasair's filter for bright recent transients
SELECT features.g.last_njy AS last_g_njy, features.r.last_njy AS last_r_njy
FROM alerts
WHERE diaSource.psfFlux > 0
  AND (features.g.last_njy > 100000 AND features.g.days_since_last < 7 OR features.r.last_njy > 100000 AND features.r.days_since_last < 7)
  AND ARRAY_LENGTH(prvDiaSources) >= 1
