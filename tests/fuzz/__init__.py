"""Inputs made up and damaged at random. Some seconds of it in ``make test``, minutes with ``make fuzz``."""
