-- about: at least a tenth of what the template has there, in u or g
-- surveys: lsst
-- reference: after Fink's filter for flares of M dwarfs
SELECT diaSource.band AS band, diaSource.psfFlux / diaSource.templateFlux AS ratio
FROM alerts
WHERE diaSource.psfFlux > 0 AND diaSource.band IN ('u', 'g') AND diaSource.templateFlux > 0
  AND diaSource.psfFlux / diaSource.templateFlux >= 0.1
