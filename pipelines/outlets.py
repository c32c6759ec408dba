"""Where the hits of a run go, from its options."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence

from alerts.filters.filter_set import FilterSet
from alerts.surveys import SURVEYS, survey
from alerts.surveys.public import PublicPrograms
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions
from pipelines.sending import was_sent_to
from streams import topics
from streams.addresses import Address
from streams.errors import StreamAway, StreamProblem
from streams.manifests import manifest_address, topic_of_manifests
from streams.outbox_rows import TOLD_OF_ALERTS
from streams.outlets import EVERY_ALERT, Outlet, parse_outlets

_LOG = logging.getLogger(__name__)


def outlets_of(broker: BrokerOptions, filters: FilterSet | None, *, begins: bool = True) -> tuple[Outlet, ...]:
    """The outlets of ``--publish``. Raises ``OptionsError``.

    ``begins``: what is wrong with them is told before anything starts. A stream's next round may have other filters, and no
    table waits because one of them is gone.
    """
    try:
        outlets = parse_outlets(broker.publish or ())
    except StreamProblem as error:
        raise OptionsError(str(error)) from error
    if not begins:
        return outlets
    names = {text.name for text in filters.texts} if filters else set()
    for outlet in outlets:
        wanted = outlet.address.filter
        if filters is None and wanted != EVERY_ALERT:
            told = "is given without --filters, whose hits it sends; give a folder of them, or add ?filter=all for every alert"
            raise OptionsError(f"--publish {outlet.address} {told}")
        if wanted not in (None, EVERY_ALERT, *names):
            raise OptionsError(f"--publish {outlet.address}: there is no filter {wanted}; known are {', '.join(sorted(names))}")
    _check_places(outlets, filters)
    return outlets


def sends_every_alert(outlets: Iterable[Outlet]) -> bool:
    """Whether somebody wants the full stream."""
    return any(outlet.takes(EVERY_ALERT) for outlet in outlets)


def _check_places(outlets: Iterable[Outlet], filters: FilterSet | None) -> None:
    """Refuse what names would do together: a hit twice in one place, a place that is public for some only."""
    takers, places = dict[tuple[str, str, str], Outlet](), dict[str, Address]()
    for outlet in outlets:
        for named, name in _named(filters, outlet, SURVEYS):
            address = outlet.at(named, name)
            if topic_of_manifests(address) is not None:
                raise OptionsError(f"--publish {outlet.address}: {address} is where manifests go; take another name")
            other = takers.setdefault((str(address), named, name), outlet)
            if other is not outlet:
                both = f"--publish {outlet.address} and {other.address}"
                raise OptionsError(f"{both} would both send {named} hits of {name} to {address}; leave one out")
            first = places.setdefault(str(address), address)
            if (first.private, first.ordered, first.config) != (address.private, address.ordered, address.config):
                told = "private, ordered and config are of a place and not of some of its hits; say the same each time"
                raise OptionsError(f"--publish {address} is given with different options: {told}")


def _named(filters: FilterSet | None, outlet: Outlet, surveys: Iterable[str]) -> list[tuple[str, str]]:
    """The surveys and filters whose hits an outlet takes."""
    named = [*(filters.versions if filters else ()), *((name, EVERY_ALERT) for name in surveys)]
    return [(of, name) for of, name in named if outlet.takes(name)]


def addresses_of(outlets: Iterable[Outlet], filters: FilterSet | None, surveys: Iterable[str]) -> Mapping[str, Address]:
    """All addresses that outlets stand for, by their texts. ``surveys``: those of which there may be alerts."""
    named = tuple(surveys)
    return {text: address for outlet in outlets for text, address in outlet.addresses(_named(filters, outlet, named)).items()}


def columns_to_send(outlets: Sequence[Outlet], filters: FilterSet) -> dict[str, tuple[str, ...]]:
    """By survey the columns of its alerts that it takes to tell of those that are in a warehouse.

    All of them where packets are to be written of them, or where everybody may know only a part of some.
    """
    found = dict[str, tuple[str, ...]]()
    for name in filters.surveys if outlets else ():
        facts = survey(name)
        parts = isinstance(facts.public, PublicPrograms) and any(outlet.is_public for outlet in outlets)
        is_whole = parts or any(outlet.format != "json" for outlet in outlets)
        found[name] = tuple(facts.alerts_table.by_name) if is_whole else TOLD_OF_ALERTS
    return found


def make_topics(uri: str, addresses: Mapping[str, Address]) -> None:
    """Make the topics that are not there. A place that does not answer holds up no run: hits wait in the outbox, which is said.

    ``uri``: the warehouse's, which knows what was sent before. Raises ``OptionsError`` for a place that there cannot be.
    """
    wanted = [each for address in addresses.values() for each in (address, manifest_address(address))]
    for topic, error in topics.make_topics(wanted, functools.partial(was_sent_to, uri)).items():
        if not isinstance(error, StreamAway):
            raise OptionsError(f"--publish: {error}") from error
        _LOG.warning("hits for %s will wait in the outbox until it takes them: %s", topic, error)
