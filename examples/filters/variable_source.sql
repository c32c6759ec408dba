-- about: has both signs of difference in one band, or varies far beyond its errors, on a source of the reference
-- surveys: ztf
-- reference: after ALeRCE's magstats and Fink's criterion for variable sources
SELECT features.r.chi2_per_dof_njy AS chi2_r, features.g.chi2_per_dof_njy AS chi2_g, candidate.distnr_arcsec AS reference_arcsec
FROM alerts
WHERE candidate.isdiffpos IS NOT NULL AND candidate.distnr_arcsec < 1
  AND (features.r.n_negative > 0 AND features.r.n_mag > 0 OR features.g.n_negative > 0 AND features.g.n_mag > 0
    OR features.r.chi2_per_dof_njy > 20 OR features.g.chi2_per_dof_njy > 20)
