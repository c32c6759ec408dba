-- about: stands within 5 arcsec of a known asteroid
-- surveys: ztf
-- reference: after Fink's selection of the Minor Planet Center's objects
SELECT candidate.ssnamenr AS name, candidate.ssdistnr AS distance_arcsec, candidate.ssmagnr AS expected_mag
FROM alerts
WHERE candidate.ssdistnr < 5 AND candidate.ssmagnr > 0
