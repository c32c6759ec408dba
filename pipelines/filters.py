"""The filters of a run: read, held against what can be asked here, and written down who ran from when."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from alerts.avro.layout import Projection
from alerts.avro.wire_schemas import WireSchemas
from alerts.features.table import features_table_of
from alerts.filters.errors import FilterError
from alerts.filters.filter_set import FilterSet
from alerts.filters.inputs import used_fields
from alerts.filters.own_packets import PASSES, REJECTS, judge_own_packets
from alerts.filters.text import FilterText, parse_text
from alerts.lists.columns import AskedLists
from alerts.lists.own_lists import NO_OWN_LISTS, OwnLists
from alerts.surveys import survey
from pipelines.catalogs import catalog_spec
from pipelines.errors import OptionsError
from pipelines.lists import lists_of
from pipelines.options import BrokerOptions
from schemas.filter_tables import FILTER_HISTORY
from streams.said import Said
from transforms.elements import TableBatch
from transforms.files import absolute, files_below, open_file
from warehouses.units import STREAM
from warehouses.warehouse import Warehouse

_LOG = logging.getLogger(__name__)
_ENDINGS = (".sql", ".py")


def filters_of(
    broker: BrokerOptions,
    want: Projection,
    features: bool,
    *,
    behind: bool = True,
    before: OwnLists | None = None,
    say: Callable[[str], None] = lambda problem: None,
) -> FilterSet | None:
    """The filters of a run that writes so much; None where none are to be asked. Raises ``OptionsError``.

    ``behind``: whether something asks those behind it that ask what catalogs have answered. ``before``, ``say``: lists that stay
    where they have become wrong, and who is told (``read_lists``).
    """
    if broker.max_filter_us <= 0:
        raise OptionsError(f"--max_filter_us is {broker.max_filter_us:g}; give a time above 0, in microseconds")
    if broker.filters is None:
        return None
    try:
        lists = lists_of(broker.watchlist, broker.sky_region, broker.radius_arcsec, before=before, say=say)
        filters = read_filters(absolute(broker.filters), broker.schemas, lists)
    except FilterError as error:
        raise OptionsError(f"--filters: {error}") from error
    check_answerable(filters, want, features)
    watched = [file.spec.catalog.name for file in filters.lists.watchlists]
    _check_catalogs(filters, [*(catalog_spec(text, broker).name for text in broker.crossmatch or []), *watched], behind)
    return filters


class ReadAgain:
    """The filters of a stream, read anew before each round: of a folder that cannot be read, those that there were before.

    A list that has become wrong stays by itself: others, and filters, are taken as they are now.
    """

    def __init__(self, broker: BrokerOptions, job_has: FilterSet | None, want: Projection, features: bool) -> None:
        self._broker, self._want, self._features, self._last = broker, want, features, job_has
        self._said = Said(_LOG)

    def __call__(self) -> FilterSet | None:
        """The filters of the next round."""
        before = self._last.lists if self._last else None
        wrong = list[str]()
        try:
            self._last = filters_of(self._broker, self._want, self._features, before=before, say=wrong.append)
            if wrong:
                self._said.say(f"lists stay as they were: {'; '.join(wrong)}")
        except OptionsError as error:
            self._said.say(f"the filters stay as they were: {error}")
        return self._last


def read_filters(folder: str, schemas: str | None = None, lists: OwnLists = NO_OWN_LISTS) -> FilterSet:
    """The filters of a folder, here or in a bucket: its files ``NAME.sql`` and ``NAME.py``. Raises ``FilterError``.

    The message says of each filter that is none, or does not hold its own packets (``NAME/passes``, ``NAME/rejects``), why, with
    its name, line and column; packets of filters that ask about lists are not looked at. ``schemas``: where schemas of packets
    without one are, see ``WireSchemas``; ``lists``: what they can ask about besides.
    """
    below = folder.rstrip("/")
    try:
        files = [file.uri for file in files_below(below)]
        contents = {uri: _contents(uri) for uri in sorted(files) if _is_filter(uri, below)}
        if not contents:
            raise FilterError(f"{folder} holds no filter; put files NAME.sql there (docs/filters.md)")
        texts, wrong = list[FilterText](), list[str]()
        with _packets_of(below, files) as here:
            for uri, data in contents.items():
                try:
                    texts.append(_checked(os.path.basename(uri), _decoded(uri, data), lists, here, WireSchemas(schemas)))
                except FilterError as error:
                    wrong.append(str(error))
    except OSError as error:
        raise FilterError(f"{folder} cannot be read: {error}") from error
    names = [text.name for text in texts]
    wrong += [f"{folder} has two filters named {name}; rename one" for name in sorted(set(names)) if names.count(name) > 1]
    if wrong:
        raise FilterError("\n".join(wrong))
    return FilterSet(tuple(texts), lists)


def _is_filter(uri: str, below: str) -> bool:
    """What is in folders below are the packets of filters."""
    name = uri.removeprefix(f"{below}/")
    # What begins with a dot editors and file systems have put there.
    return name.lower().endswith(_ENDINGS) and "/" not in name and not name.startswith(".")


def _contents(uri: str) -> bytes:
    with open_file(uri) as file:
        return file.read()


def _decoded(uri: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FilterError(f"{uri} is no UTF-8: byte {error.start} is {data[error.start]:#04x}") from None


def _checked(name: str, text: str, lists: OwnLists, packets: Path, wire_schemas: WireSchemas) -> FilterText:
    """A filter that is one, and holds its own packets. Raises ``FilterError`` and ``OSError``."""
    stem, ending = os.path.splitext(name)
    try:
        told = parse_text(stem, text, is_python=ending.lower() == ".py")
    except FilterError as error:
        raise FilterError(error.told(name, text)) from None
    filters = FilterSet((told,), lists)
    found = [finding for _, finding in filters.findings()]
    if not told.is_python:
        queries = {survey_name: filters.of_survey(survey_name).queries[stem] for survey_name in told.surveys}
        # Packets that must be on a list are so of the list that they were made for, which is none of the run's.
        if not any(AskedLists.of(lists, used_fields([query])).names for query in queries.values()):
            found += judge_own_packets(packets / stem, queries, lists, open_file, wire_schemas).findings
    if wrong := [finding.told(name, text) for finding in found if finding.is_error]:
        raise FilterError("\n".join(wrong))
    return told


@contextlib.contextmanager
def _packets_of(below: str, files: Iterable[str]) -> Iterator[Path]:
    """The folder itself, or one here with the packets of one in a bucket."""
    if "://" not in below:
        yield Path(below)
        return
    with tempfile.TemporaryDirectory(prefix="broker-filters-") as here:
        for uri in files:
            parts = uri.removeprefix(f"{below}/").split("/")
            if len(parts) > 2 and parts[1] in (PASSES, REJECTS) and ".." not in parts:
                place = Path(here, *parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(_contents(uri))
        yield Path(here)


def check_answerable(filters: FilterSet, want: Projection, features: bool) -> None:
    """Refuse filters that ask for what a run does not have. Raises ``OptionsError``."""
    for name in sorted(filters.surveys):
        facts, compiled = survey(name), filters.of_survey(name)
        left_out = set(facts.alerts_table.by_name) - set(want.alerts_table(facts).by_name)
        for filter_name, asked in compiled.columns.items():
            of_lists = AskedLists.of(filters.lists, compiled.used_by.get(filter_name, {})).columns(facts)
            if lacking := sorted(set(of_lists) & left_out):
                raise OptionsError(
                    f"--filters: {filter_name} asks for days to the first detection, which {lacking[0]} tells, and --no_history "
                    "leaves that out; leave one of the two out"
                )
            if lacking := sorted(asked & left_out):
                raise OptionsError(
                    f"--filters: {filter_name} asks for {lacking[0]}, which --no_history leaves out; leave one of the two out"
                )
            if "features" in asked and not (features and features_table_of(facts)):
                raise OptionsError(
                    f"--filters: {filter_name} asks for features, which this run does not compute; leave out --no_features"
                )


def _check_catalogs(filters: FilterSet, catalogs: Sequence[str], behind: bool) -> None:
    """Refuse filters that ask what catalogs have answered that nobody asks. Raises ``OptionsError``."""
    for text in filters.texts:
        if not filters.reads_matches(text):
            continue
        if not behind:
            raise OptionsError(
                f"--filters: {text.name} asks for matches, which come later than this job's alerts; leave it out, "
                "and ask it when they are there with: broker refilter"
            )
        if lacking := sorted(filters.catalogs_of(text) - set(catalogs)):
            kind, _, place = lacking[0].partition(":")
            if kind == "file" and f"file:{absolute(place)}" in catalogs:
                raise OptionsError(
                    f"--filters: {text.name} asks for {lacking[0]}; rows name catalogs of files by their whole path: "
                    f"write file:{absolute(place)}"
                )
            near = [name for name in catalogs if name.casefold() == lacking[0].casefold()]
            if near:
                raise OptionsError(f"--filters: {text.name} asks for {lacking[0]}; rows name that catalog {near[0]}: write it so")
            flag = f"--watchlist {place}=FILE" if kind == "watchlist" else f"--crossmatch {lacking[0]}"
            raise OptionsError(f"--filters: {text.name} asks for {lacking[0]}, which is not asked; add {flag}")
        if not catalogs:
            raise OptionsError(f"--filters: {text.name} asks for matches, and no catalog is asked; add --crossmatch CATALOG")


def history_rows(warehouse: Warehouse, filters: FilterSet, run_id: str) -> tuple[TableBatch, ...]:
    """Rows of ``filter_history``: of filters and lists that nobody ran before, and of those that nobody runs any more.

    Raises ``QueryError``.
    """
    now = datetime.now(UTC)
    texts = {text.name: text.text for text in filters.texts} | filters.lists.texts
    running = {(name, version): texts[name] for (_, name), version in filters.versions.items()}
    running |= {(name, version): texts[name] for name, version in filters.lists.versions.items()}
    rows, before = [], {}
    if warehouse.holds_tables():
        open_sql = "SELECT * FROM filter_history_unique WHERE valid_until IS NULL"
        before = {(row["filter"], row["filter_version"]): row for row in warehouse.ask(open_sql).read().to_pylist()}
    for key, row in before.items():
        if key not in running:
            rows.append({**row, "valid_until": now, "run_id": run_id})
    for (name, version), text in sorted(running.items()):
        if (name, version) not in before:
            row = {"filter": name, "filter_version": version, "valid_from": now, "text": text, "who": _account()}
            rows.append({**row, "run_id": run_id})
    if not rows:
        return ()
    made = pa.RecordBatch.from_pylist(rows, schema=FILTER_HISTORY.arrow_schema)
    return (TableBatch(FILTER_HISTORY.name, STREAM, made),)


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid {os.getuid()}"
