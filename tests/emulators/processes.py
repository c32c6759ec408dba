"""Google's three services as emulators: child processes on free loopback ports, which end with the process that began them."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = "pitt-broker-emulated"
_HOST = "127.0.0.1"
_EXTENSIONS = ("spatial", "icu", "json", "avro")
_START_SECS = 90
_PORT_ATTEMPTS = 3


@dataclass
class Emulator:
    """One emulator: how to start it on given ports, the path that answers 200 when it is up, and what it printed."""

    name: str
    command: Callable[[Sequence[int]], Sequence[str]]
    ready: str
    log: Path
    ports: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Begin to start it, in a session of its own: a Ctrl-C in the terminal is for the tests, which then stop it."""
        ports = _free_ports(self.ports)
        self.hosts = [f"{_HOST}:{port}" for port in ports]
        leash = [sys.executable, "-S", str(Path(__file__).with_name("leash.py")), str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash, *self.command(ports)],
                env={**os.environ, **self.environment},
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when it answers; another process may have taken its port meanwhile, then it is begun again on others."""
        for attempt in range(_PORT_ATTEMPTS):
            deadline = time.monotonic() + _START_SECS
            while time.monotonic() < deadline and self._process.poll() is None:
                if _answers(f"http://{self.hosts[0]}{self.ready}"):
                    return
                time.sleep(0.05)
            self.stop()
            if time.monotonic() >= deadline or attempt + 1 == _PORT_ATTEMPTS:
                break
            self.spawn()
        raise RuntimeError(f"the {self.name} emulator does not start; the end of {self.log}:\n{self.said()}")

    def stop(self) -> None:
        """End it at once; it keeps nothing worth a farewell."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def said(self, characters: int = 3000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


def storage(folder: Path) -> Emulator:
    """Cloud Storage; objects are plain files under ``folder/objects/BUCKET/``."""
    return Emulator(
        "Cloud Storage",
        lambda ports: [
            *(sys.executable, "-P", str(Path(__file__).with_name("storage_server.py"))),
            "start",
            "-q",
            f"--host={_HOST}",
            f"--port={ports[0]}",
        ],
        ready="/",
        log=folder / "storage.log",
        environment={"STORAGE_BASE": str(folder), "STORAGE_DIR": "objects"},
    )


def bigquery(folder: Path) -> Emulator:
    """BigQuery: REST on the first port, the Storage Read and Write APIs on the second; reads gs:// from ``folder/objects``."""
    (folder / "objects").mkdir(parents=True, exist_ok=True)
    return Emulator(
        "BigQuery",
        lambda ports: [
            *(sys.executable, "-P", "-m", "tests.emulators.bigquery_server"),
            *("start", "--ephemeral", "--log-level", "warning"),
            *("--rest-host", _HOST, "--rest-port", str(ports[0]), "--grpc-host", _HOST, "--grpc-port", str(ports[1])),
        ],
        ready="/readyz",
        log=folder / "bigquery.log",
        ports=2,
        environment={
            "HOME": str(_duckdb_home()),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "BQEMU_GCS_LOCAL_ROOT": str(folder / "objects"),
            "BQEMU_UPLOAD_STAGING_DIR": str(folder / "uploads"),
            "BQEMU_DEFAULT_PROJECT_ID": PROJECT,
            # The Storage Read API answers with a whole table in one message, and limits it by this; how much an AppendRows
            # request may be is ``write_api_server.LIMIT``.
            "BQEMU_WRITE_API_MAX_REQUEST_BYTES": str(2**29),
        },
    )


def pubsub(folder: Path) -> Emulator:
    """Pub/Sub, Google's own emulator; see ``pubsub_missing``."""
    return Emulator(
        "Pub/Sub",
        lambda ports: ["java", "-Xmx512m", "-jar", str(_pubsub_jar()), f"--host={_HOST}", f"--port={ports[0]}"],
        ready="/",
        log=folder / "pubsub.log",
    )


def pubsub_missing() -> str | None:
    """Why the Pub/Sub emulator cannot be started here, and the remedy; None if it can."""
    remedy = "install it (gcloud components install pubsub-emulator, or Debian's google-cloud-cli-pubsub-emulator)"
    if _pubsub_jar() is None:
        return f"no Pub/Sub emulator: {remedy} or set PUBSUB_EMULATOR_HOST to the host:port of one that runs"
    if shutil.which("java") is None:
        return "no Java for the Pub/Sub emulator: install a JRE, or set PUBSUB_EMULATOR_HOST to the host:port of one that runs"
    return None


@functools.cache
def _pubsub_jar() -> Path | None:
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    asked = subprocess.run(
        [gcloud, "info", "--format=value(installation.sdk_root)"], capture_output=True, text=True, timeout=60, check=False
    )
    folder = Path(asked.stdout.strip() or "/nonexistent", "platform", "pubsub-emulator", "lib")
    return max(folder.glob("cloud-pubsub-emulator-*.jar"), default=None)


def _duckdb_home() -> Path:
    """A HOME whose ``.duckdb`` has the extensions that bqemulator loads (150 MB), made once per environment.

    The user's own ``~/.duckdb`` is not touched, and no download is tried.
    """
    home = Path(sys.prefix, "share", f"duckdb-{importlib.metadata.version('duckdb')}-home")
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    unfinished = tempfile.mkdtemp(dir=home.parent)
    program = "import sys, duckdb_extensions as d; [d.import_extension(name) for name in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", program, *_EXTENSIONS], env={**os.environ, "HOME": unfinished}, check=True)
    try:
        os.rename(unfinished, home)
    except OSError:
        # Another session was faster.
        shutil.rmtree(unfinished)
    return home


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        held = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((_HOST, 0))
        return [one.getsockname()[1] for one in held]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
