-- about: a trail of more than 2 arcsec, between 18 and 21 mag
-- surveys: lsst
-- reference: after Fink's filter for faint trails
SELECT diaSource.trailLength AS trail_arcsec, diaSource.psfFlux AS psf_flux_njy
FROM alerts
WHERE diaSource.trailLength > 2 AND diaSource.psfFlux BETWEEN 14454 AND 229087
  AND NOT COALESCE(diaSource.trail_flag_edge, FALSE)
