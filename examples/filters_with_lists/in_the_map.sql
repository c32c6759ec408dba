-- about: new since the event, within the best 90 percent of its map, brighter than the template, no known asteroid
-- surveys: ztf
-- reference: after Kasliwal et al. 2020, who looked for what gravitational waves came from
SELECT regions.event_level AS level, regions.event_days_since AS days_since
FROM alerts
WHERE regions.event AND regions.event_days_since BETWEEN 0 AND 10
  AND regions.event_days_to_first_detection >= 0 AND candidate.isdiffpos
  AND NOT COALESCE(candidate.ssdistnr < 10, FALSE)
