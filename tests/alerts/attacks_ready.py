"""Imported once, in the process that ``tests.within`` copies for each attack: what the tests' own process does not need."""

import broker.ztf_archive  # noqa: F401 - programs of tests.ready begin with it
from tests.alerts.attacks import warm_up

warm_up()
