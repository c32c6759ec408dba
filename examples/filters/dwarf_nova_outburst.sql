-- about: brighter by two magnitudes or more than within the last days' limits or detections, at most 19 mag
-- surveys: ztf
-- reference: after ANTARES' filter for outbursts of dwarf novae
SELECT candidate.magpsf AS mag, features.g.amplitude_mag AS amplitude_g_mag, features.r.amplitude_mag AS amplitude_r_mag
FROM alerts
WHERE candidate.isdiffpos AND candidate.rb > 0.1 AND candidate.magpsf <= 19
  AND (features.g.amplitude_mag >= 2 OR features.r.amplitude_mag >= 2
    OR features.g.rise_mag_per_day_at_least < -0.4 OR features.r.rise_mag_per_day_at_least < -0.4)
