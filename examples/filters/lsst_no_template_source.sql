-- about: is young, and the template has no flux at its place; a host that is arcsecs away does not count as one
-- surveys: lsst
-- reference: after the five lines of docs/features.md
SELECT features.age_history_days AS age_days, diaSource.templateFlux AS template_njy
FROM alerts
WHERE features.age_history_days < 15 AND diaSource.templateFlux < 3 * diaSource.templateFluxErr
  AND diaSource.diaObjectId > 0
