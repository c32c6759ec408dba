"""A real Kafka on loopback, of one node: its jars by Maven, kept in the user's cache; killed and begun again as a test likes."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from tests.emulators.processes import _free_ports

GIVEN = "PITT_BROKER_TEST_KAFKA"
"""The ``HOST:PORT`` of a Kafka that is used as it is, instead of one of our own."""
_POM = Path(__file__).with_name("kafka_pom.xml")
_JARS_SECS, _START_SECS = 600, 60
_CLUSTER_ID = "pittbroker0000000000000w"


def missing() -> str | None:
    """Why no Kafka can be started here, and the remedy; None if one can."""
    if shutil.which("java") is None or not (_jars().is_dir() or shutil.which("mvn")):
        return f"no Kafka: install Java and Maven (Debian: default-jre-headless maven), or set {GIVEN} to the HOST:PORT of one"
    try:
        jars()
    except RuntimeError as error:
        return f"no Kafka: {error}; or set {GIVEN} to the HOST:PORT of one"
    return None


def jars() -> Path:
    """The folder of Kafka's jars, fetched once for this user (43 MB). Raises ``RuntimeError`` where Maven cannot."""
    folder = _jars()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        aside = folder.with_suffix(f".{os.getpid()}")
        command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={aside}"]
        done = subprocess.run(
            [*command, "-DincludeScope=runtime"], capture_output=True, text=True, timeout=_JARS_SECS, check=False
        )
        if done.returncode:
            shutil.rmtree(aside, ignore_errors=True)
            raise RuntimeError(f"Maven cannot fetch Kafka: {(done.stdout + done.stderr)[-1000:]}")
        aside.rename(folder)
    return folder


def _jars() -> Path:
    version = _POM.read_text(encoding="utf-8").split("<version>")[2].split("<")[0]
    return Path(platformdirs.user_cache_dir("pitt-broker-tests"), f"kafka-{version}")


@dataclass
class KafkaServer:
    """One node, broker and controller in one; all it has is below ``folder``. Also a context manager."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """More of its properties, or others."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Passwords by name: with any it listens by TLS and SASL, too, and only lets users do what they are allowed to."""
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ports = _free_ports(3)
        self.servers = f"127.0.0.1:{self._ports[0]}"
        """``HOST:PORT``, the same after a restart; who comes here may do everything."""
        self.secure_servers = f"127.0.0.1:{self._ports[2]}"
        """``HOST:PORT`` for ``users``, by TLS with ``certificate`` and SASL (PLAIN, SCRAM-SHA-512, OAUTHBEARER)."""
        self.certificate = self.folder / "certificate.pem"

    def start(self) -> None:
        """Begin it, or begin it again with all that it had."""
        properties = self.folder / "server.properties"
        if not (self.folder / "data").exists():
            if self.users:
                self._make_certificate()
            text = "".join(f"{key}={value}\n" for key, value in {**self._properties(), **self.settings}.items())
            properties.write_text(text, encoding="utf-8")
            self._run(["kafka.tools.StorageTool", "format", "--cluster-id", _CLUSTER_ID, "--config", str(properties)])
        leash = [sys.executable, "-S", str(Path(__file__).with_name("leash.py")), str(os.getpid())]
        with (self.folder / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*leash, *self._java("256m", "512m"), "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait()

    def _properties(self) -> dict[str, str]:
        first, other, third = self._ports
        plain = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{other}",
            "listeners": f"PLAINTEXT://127.0.0.1:{first},CONTROLLER://127.0.0.1:{other}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{first}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "num.partitions": "4",
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(8 * 2**20),
            # What has three copies unless told waits for ever on one node.
            **dict.fromkeys(_OF_ONE_NODE, "1"),
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
        }
        if not self.users:
            return plain
        modules = "org.apache.kafka.common.security"
        known = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return {
            **plain,
            "listeners": f"{plain['listeners']},SASL_SSL://127.0.0.1:{third}",
            "advertised.listeners": f"{plain['advertised.listeners']},SASL_SSL://127.0.0.1:{third}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "keystore.pem"),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{modules}.plain.PlainLoginModule required {known};",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
            "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": (
                f'{modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="nobody";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def _make_certificate(self) -> None:
        key = self.folder / "key.pem"
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        (self.folder / "keystore.pem").write_bytes(key.read_bytes() + self.certificate.read_bytes())

    def _java(self, least: str, most: str) -> list[str]:
        quiet = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Xms{least}", f"-Xmx{most}"]
        return ["java", *quiet, "-cp", f"{jars()}/*"]

    def _run(self, words: list[str]) -> None:
        done = subprocess.run([*self._java("32m", "128m"), *words], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka's {words[0]} fails: {(done.stdout + done.stderr)[-1000:]}")

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._ports[0]), 1).close()
                return
            except OSError:
                if time.monotonic() > end or (self._process and self._process.poll() is not None):
                    raise RuntimeError(f"Kafka does not start: {(self.folder / 'kafka.log').read_text()[-2000:]}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a machine does that loses its power."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> KafkaServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


_OF_ONE_NODE = (
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "share.coordinator.state.topic.min.isr",
)
