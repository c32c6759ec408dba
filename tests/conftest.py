"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alerts.avro.patience import PATIENCE

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

HERE = Path(__file__).parent
OURS = HERE / "data"
"""Real packets whose licence lets us keep them: see NOTICE.md there."""


class RealData:
    """Real survey packets by their place: those in ``tests/data``, and all others where a larger set is at hand.

    The larger set is ``$PITT_BROKER_DATA``, else ``../shared/data`` beside the project. A test that asks for what is in neither
    is skipped and says so.
    """

    def __init__(self) -> None:
        larger = Path(os.environ.get("PITT_BROKER_DATA", HERE.parents[1] / "shared" / "data"))
        self.larger = larger if larger.is_dir() else None
        self._roots = [OURS, *([larger] if self.larger else [])]

    def __truediv__(self, name: str | Path) -> Path:
        """A file, our own first; or a folder, the fullest there is."""
        found = [root / name for root in self._roots if (root / name).exists()]
        if not found:
            _skip(str(name))
        return found[0] if found[0].is_file() else found[-1]

    def glob(self, pattern: str) -> list[Path]:
        """The files that match, in order of their places, each once."""
        found: dict[Path, Path] = {}
        for root in self._roots:
            for path in root.glob(pattern):
                found.setdefault(path.relative_to(root), path)
        if not found:
            _skip(pattern)
        return [found[name] for name in sorted(found)]


def _skip(name: str) -> None:
    pytest.skip(f"no real packets {name}: set PITT_BROKER_DATA to the folder that holds ztf/, lsst/ and elasticc/")


@pytest.fixture(scope="session")
def real_data() -> RealData:
    """Real survey packets."""
    return RealData()


@pytest.fixture(scope="session")
def all_real_data(real_data: RealData) -> RealData:
    """The larger set of real packets, for what is said of all of them; where it is not at hand the test is skipped."""
    if real_data.larger is None:
        _skip("of the larger set")
    return real_data


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where several of pytest's workers run, one compiles what numba compiles, and the others wait for it."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.compiled import compile_one_by_one  # noqa: PLC0415 - a test run alone need not import the decoder

        compile_one_by_one(tmp_path_factory.getbasetemp().parent / "compiled.lock")


@pytest.fixture(autouse=True)
def compiled_decoder() -> None:
    """Packets go through the compiled decoder at once: in a process of a few packets fastavro would read all of them."""
    PATIENCE.begin()


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The emulators of BigQuery and Cloud Storage, and of Pub/Sub where it can run: begun once, for all folders.

    Nothing is pointed at them: see ``cloud`` of ``tests.emulators.fixtures``.
    """
    pytest.importorskip("bqemulator", reason="no BigQuery emulator: pip install --constraint constraints.txt '.[cloud]'")
    from tests.emulators.cloud import started  # noqa: PLC0415 - brings Google's clients and Beam, which most tests do not need

    with started(tmp_path_factory.mktemp("emulators")) as here:
        yield here


_LONGEST_FIRST = (
    *("cloud/test_parity.py", "cloud/test_crossmatch.py", "cloud/test_pages_run.py", "pipelines/test_crossmatch.py"),
    *("cloud/test_bigquery.py", "kafka/test_rounds_cloud.py", "test_speed_and_memory.py", "kafka/test_rounds.py"),
    *("cloud/test_streams.py", "pipelines/test_catalogs_behind.py", "pipelines/test_ingest.py", "deploy/test_submission.py"),
    *("cloud/test_audit.py", "warehouses/test_index.py", "cloud/test_rights.py", "cloud/test_cones.py"),
)
"""Files that take a minute or more: where several processes share the tests, one that began last would run alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all else as it stands."""
    places = {str(HERE / name): number for number, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))
