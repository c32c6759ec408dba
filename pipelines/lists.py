"""The watchlists and regions of a run, from its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from alerts.lists.named import BadList
from alerts.lists.own_lists import OwnLists, read_lists
from pipelines.errors import OptionsError
from transforms.files import absolute, open_file


def lists_of(
    watchlists: Iterable[str] | None,
    regions: Iterable[str] | None,
    radius_arcsec: float,
    *,
    before: OwnLists | None = None,
    say: Callable[[str], None] = lambda problem: None,
) -> OwnLists:
    """The lists that a person names, their files opened, and their paths made absolute. Raises ``OptionsError``.

    ``radius_arcsec``: of watchlists' places that have none. ``before``: what they were; one of these that has become wrong stays,
    which ``say`` is told.
    """
    try:
        return read_lists(watchlists or (), regions or (), radius_arcsec, open_file, absolute, before=before, say=say)
    except BadList as error:
        raise OptionsError(str(error)) from error
