"""Where the hits of a run go, from its options."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from alerts.filters.filter_set import FilterSet
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions
from streams.addresses import Address
from streams.errors import StreamAway, StreamProblem
from streams.manifests import manifest_address
from streams.outlets import EVERY_ALERT, Outlet, parse_outlets
from streams.topics import make_topic

_LOG = logging.getLogger(__name__)


def outlets_of(broker: BrokerOptions, filters: FilterSet | None) -> tuple[Outlet, ...]:
    """The outlets of ``--publish``, of filters that there are. Raises ``OptionsError``."""
    try:
        outlets = parse_outlets(broker.publish or ())
    except StreamProblem as error:
        raise OptionsError(str(error)) from error
    names = {text.name for text in filters.texts} if filters else set()
    for outlet in outlets:
        wanted = outlet.address.filter
        if filters is None:
            told = "is given without --filters, whose hits it sends; give a folder of them"
            raise OptionsError(f"--publish {outlet.address} {told}")
        if wanted not in (None, EVERY_ALERT, *names):
            raise OptionsError(f"--publish {outlet.address}: there is no filter {wanted}; known are {', '.join(sorted(names))}")
    return outlets


def addresses_of(outlets: Iterable[Outlet], filters: FilterSet | None) -> Mapping[str, Address]:
    """All addresses that outlets stand for, by their texts."""
    if filters is None:
        return {}
    named = [(survey, name) for survey, name in filters.versions] + [(survey, EVERY_ALERT) for survey in filters.surveys]
    return {text: address for outlet in outlets for text, address in outlet.addresses(named).items()}


def make_topics(addresses: Mapping[str, Address]) -> None:
    """Make the topics that are not there. A place that does not answer holds up no run: hits wait in the outbox, which is said.

    Raises ``OptionsError`` for a place that there cannot be.
    """
    for text, address in addresses.items():
        try:
            make_topic(address)
            make_topic(manifest_address(address))
        except StreamAway as error:
            _LOG.warning("hits for %s will wait in the outbox until it answers: %s", text, error)
        except StreamProblem as error:
            raise OptionsError(f"--publish: {error}") from error
