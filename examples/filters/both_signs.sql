-- about: is brighter and fainter than the template in one light curve, and not constant
-- surveys: ztf, lsst
-- reference: after the five lines of docs/features.md
SELECT features.r.n_negative AS n_negative, features.r.n_detections AS n_detections, features.r.chi2_per_dof_njy AS chi2
FROM alerts
WHERE features.r.n_negative BETWEEN 1 AND features.r.n_detections - 1 AND features.r.chi2_per_dof_njy > 100
