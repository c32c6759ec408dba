-- about: at a place of the list "mine", within that place's own radius
-- surveys: ztf, lsst
-- reference: after Lasair's watchlists
SELECT alert_id
FROM alerts
WHERE watchlists.mine
