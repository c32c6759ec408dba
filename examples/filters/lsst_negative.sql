-- about: fainter than the template by ten sigma or more
-- surveys: lsst
-- reference: after Lasair's counts of positive and negative sources
SELECT diaSource.psfFlux AS psf_flux_njy, diaSource.templateFlux AS template_njy
FROM alerts
WHERE diaSource.psfFlux < -10 * diaSource.psfFluxErr AND diaSource.reliability >= 0.6
