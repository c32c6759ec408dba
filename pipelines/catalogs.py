"""The catalogs of a run, from its options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlencode, urlsplit

from alerts.catalogs.catalog import MAX_RADIUS_ARCSEC, BadCatalog
from alerts.catalogs.defaults import OBSERVED_EPOCH
from alerts.catalogs.open import CatalogSettings, check
from alerts.catalogs.spec import FILE, PROPER_MOTION_REACH_ARCSEC, CatalogSpec, parse_spec
from alerts.lists.named import BadList
from alerts.lists.watchlists import WatchlistSpec, check_watchlists, of_catalog, parse_watchlist
from alerts.secrets import holds_credential
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions
from transforms.files import absolute, open_file


def catalog_settings(broker: BrokerOptions, run_id: str) -> CatalogSettings | None:
    """What to ask and how; None where no catalog was named. Opens files, calls no service. Raises ``OptionsError``."""
    for name, wrong, rule in (
        ("crossmatch_concurrency", not 1 <= broker.crossmatch_concurrency <= 16, "a number of calls, 1 to 16"),
        ("max_wait_secs", not 0 < broker.max_wait_secs <= 3600, "a number of seconds above 0, at most 3600"),
        (
            "crossmatch_deadline_secs",
            not 0 < broker.crossmatch_deadline_secs <= 3600,
            "a number of seconds above 0, at most 3600",
        ),
        ("crossmatch_cache_arcsec", not 0 <= broker.crossmatch_cache_arcsec <= 180, "an angle in arcsec, 0 to 180"),
    ):
        if wrong:
            raise OptionsError(f"--{name} is {getattr(broker, name):g}; give {rule}")
    if not _is_url(broker.crossmatch_url):
        raise OptionsError(f"--crossmatch_url {broker.crossmatch_url} is no http:// or https:// address")
    if holds_credential(broker.crossmatch_url):
        raise OptionsError(
            "--crossmatch_url holds a credential, which would be stored with the run; "
            "leave it out and give user and password in ~/.netrc, or in the file that the environment variable NETRC names"
        )
    specs = tuple(catalog_spec(text, broker) for text in broker.crossmatch or [])
    names = [spec.name for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionsError(f"--crossmatch {twice[0]} is given twice; a run asks a catalog once")
    specs += tuple(spec.catalog for spec in watchlists(broker))
    if not specs:
        return None
    return CatalogSettings(
        run_id=run_id,
        specs=specs,
        epoch=broker.crossmatch_epoch,
        url=broker.crossmatch_url,
        concurrency=broker.crossmatch_concurrency,
        deadline_secs=broker.crossmatch_deadline_secs,
        cache_arcsec=broker.crossmatch_cache_arcsec,
    )


def watchlists(broker: BrokerOptions) -> list[WatchlistSpec]:
    """The lists of ``--watchlist``, each read. A list that a round has read stays what it was where it became wrong.

    Raises ``OptionsError``.
    """
    try:
        named = [parse_watchlist(text, broker.radius_arcsec) for text in broker.watchlist or []]
        # A list means the same from every folder, here and on workers.
        specs = [replace(spec, path=absolute(spec.path)) for spec in named]
        check_watchlists(specs, open_file)
    except BadList as error:
        raise OptionsError(f"--watchlist: {error}") from error
    return specs


def as_given(specs: Iterable[CatalogSpec]) -> dict[str, list[str]]:
    """Catalogs as the options of a run have them, by flag, with all that was said of each."""
    given: dict[str, list[str]] = {}
    for spec in specs:
        flag, text = ("watchlist", of_catalog(spec).text) if spec.is_list else ("crossmatch", full_name(spec))
        given.setdefault(flag, []).append(text)
    return given


def of_services(settings: CatalogSettings | None, wanted: bool) -> CatalogSettings | None:
    """Those of the catalogs that services have, or (not ``wanted``) the others; None where there are none."""
    specs = tuple(spec for spec in settings.specs if spec.remote == wanted) if settings else ()
    return replace(settings, specs=specs) if settings and specs else None


def full_name(spec: CatalogSpec) -> str:
    """A catalog with all that was said of it, as ``--crossmatch`` takes it."""
    return f"{spec.name}?{urlencode({**spec.columns, 'radius_arcsec': repr(spec.radius_arcsec)}, safe=',:/')}"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def catalog_spec(text: str, broker: BrokerOptions) -> CatalogSpec:
    """One catalog, checked. Raises ``OptionsError``."""
    try:
        spec = parse_spec(text, broker.radius_arcsec)
        if spec.kind == FILE:
            # A row's catalog means the same from every folder, here and on workers.
            place = absolute(spec.target)
            spec = CatalogSpec(f"{FILE}:{place}", spec.kind, place, spec.radius_arcsec, spec.columns)
        most = MAX_RADIUS_ARCSEC - PROPER_MOTION_REACH_ARCSEC
        if spec.remote and broker.crossmatch_epoch == OBSERVED_EPOCH and spec.radius_arcsec > most:
            raise BadCatalog(
                f"{spec.name} has a radius of {spec.radius_arcsec:g} arcsec; with --crossmatch_epoch observed it may be {most:g}"
            )
        check(spec, open_file)
    except BadCatalog as error:
        raise OptionsError(f"--crossmatch: {error}") from error
    return spec
