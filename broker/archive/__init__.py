"""The parts of ``broker.ztf_archive``.

nights    what a notebook asks: nights from there to here, and their alerts
positions where on the sky the alerts on this machine are
errors    what can go wrong, in one sentence each
remote    the public archive: its page, its MD5 list, polite requests
download  one night to disk: resumed, checked, under its name only when whole
local     where the nights are on this machine
reading   the alerts in a packed night, front to back
index     the place of each alert in a packed night, and reading from there
progress  the progress bars
"""
