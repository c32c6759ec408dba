-- about: observed within ten days after the event, where its map has the best half of its probability
-- surveys: ztf, lsst
-- reference: after Singer and Price 2016, whose maps of gravitational waves have such levels
SELECT regions.event_level AS level
FROM alerts
WHERE regions.event_level <= 0.5 AND regions.event_days_since BETWEEN 0 AND 10
