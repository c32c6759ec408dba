-- about: first found at most 14 days ago, 15 degrees from the Galaxy, no star of Pan-STARRS within 1 arcsec
-- surveys: ztf
-- reference: after ANTARES' filter for young extragalactic candidates
SELECT features.age_jdstarthist_days AS age_days, features.glat_deg AS glat_deg
FROM alerts
WHERE candidate.isdiffpos AND ABS(features.glat_deg) > 15 AND features.age_jdstarthist_days <= 14
  AND NOT COALESCE(candidate.distpsnr1 < 1 AND candidate.sgscore1 > 0.5, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 5, FALSE)
