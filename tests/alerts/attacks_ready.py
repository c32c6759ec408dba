"""Imported once, in the process that ``tests.within`` copies for each attack: what the tests' own process does not need."""

from tests.alerts.attacks import warm_up

warm_up()
