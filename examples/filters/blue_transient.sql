-- about: bluer than g - r = -0.1 within a night, brightening or steady
-- surveys: ztf
-- reference: after Lasair's filter for tidal disruption events, by color instead of temperature
SELECT features.color_g_r_mag AS color_g_r_mag, features.color_g_r_err_mag AS color_err_mag
FROM alerts
WHERE candidate.isdiffpos AND features.color_g_r_mag < -0.1 AND features.color_g_r_err_mag < 0.2
  AND NOT COALESCE(candidate.sgscore1 > 0.76 AND candidate.distpsnr1 < 2, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 5, FALSE)
