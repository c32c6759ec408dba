-- about: one of 113 alerts, by its id alone
-- surveys: ztf, lsst
-- reference: after Fink's uniform sample
SELECT alert_id, observed_at
FROM alerts
WHERE MOD(alert_id, 113) = 0
