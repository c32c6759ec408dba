-- about: a magnitude known to two hundredths
-- surveys: ztf
-- reference: after ANTARES' filter for a high signal to noise
SELECT candidate.magpsf AS mag, candidate.sigmapsf AS mag_err
FROM alerts
WHERE candidate.isdiffpos AND (candidate.fid = 1 AND candidate.sigmapsf < 1 / 50 OR candidate.fid = 2 AND candidate.sigmapsf < 1 / 55)
