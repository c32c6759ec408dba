-- about: a positive LSST detection of five sigma or more with none of the flags of trouble
-- surveys: lsst
-- reference: after Fink's quality cut and ANTARES' SCiMMA quality filter
SELECT diaSource.psfFlux AS psf_flux_njy, diaSource.snr AS snr
FROM alerts
WHERE diaSource.psfFlux > 0 AND diaSource.psfFlux / diaSource.psfFluxErr >= 6 AND diaSource.reliability >= 0.6
  AND NOT COALESCE(diaSource.isDipole, FALSE) AND NOT COALESCE(diaSource.psfFlux_flag, FALSE)
  AND NOT COALESCE(diaSource.centroid_flag, FALSE) AND NOT COALESCE(diaSource.pixelFlags_bad, FALSE)
  AND NOT COALESCE(diaSource.pixelFlags_saturatedCenter, FALSE) AND NOT COALESCE(diaSource.pixelFlags_streakCenter, FALSE)
