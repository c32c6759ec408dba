-- about: has a peak in r that is neither the first nor the newest point and stands out from all others
-- surveys: ztf, lsst
-- reference: after the five lines of docs/features.md
SELECT features.r.amplitude_mag AS amplitude_mag, features.r.days_since_brightest_mag AS days_since_peak
FROM alerts
WHERE features.r.amplitude_mag > 0.6 AND features.r.faintest_mag - features.r.mean_mag < features.r.amplitude_mag
  AND features.r.days_to_brightest_mag > 5 AND features.r.days_since_brightest_mag > 3 AND features.r.n_negative = 0
