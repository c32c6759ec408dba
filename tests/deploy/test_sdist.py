"""The distribution alone: what setup.py packs, installed away from the checkout, runs with workers in other processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from importlib import metadata
from pathlib import Path

import pytest

from tests.deploy.sources import ROOT, copied_by_dockerfile, copy_sources
from tests.nights import ask, rows, run

PACKAGES = ("alerts", "audit", "broker", "pipelines", "schemas", "simulation", "streams", "transforms", "warehouses")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from what the image has, as Beam builds it for ``--setup_file``."""
    sources = copy_sources(tmp_path_factory.mktemp("sources"), copied_by_dockerfile())
    built = tmp_path_factory.mktemp("dist")
    done(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(built), cwd=sources)
    return next(built.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def clean(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the distribution and this one's dependencies, but not with its editable install of the checkout."""
    folder = tmp_path_factory.mktemp("clean")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheels = folder / "wheels"
    done(*pip, "wheel", "--no-deps", *_build_flags(), "--wheel-dir", str(wheels), str(sdist), cwd=folder)
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    done(*pip, "--python", str(python), "install", "--no-deps", "--no-index", *map(str, wheels.glob("*.whl")), cwd=folder)
    # Of a folder that a .pth file names Python does not read the .pth files, one of which is the editable install.
    (dependencies,) = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "env")}))
    (site / "dependencies.pth").write_text(dependencies)
    _keep_compiled(site)
    return folder / "env"


def _keep_compiled(site: Path) -> None:
    """Give installed modules what numba has compiled of the very same ones in the checkout, half a minute for two workers.

    numba takes a file's time and size for its contents, so they must be the same here; a path is not among what it looks at.
    """
    for compiled in ROOT.glob("alerts/**/__pycache__/*.nb[ci]"):
        source = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        module = site / source.relative_to(ROOT)
        # A checkout may hold what was compiled of a module that has moved since.
        if source.exists() and module.read_bytes() == source.read_bytes():
            os.utime(module, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
            (module.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(compiled, module.parent / "__pycache__")


def _build_flags() -> list[str]:
    """No network is needed where the backend that pyproject.toml asks for is installed."""
    wanted = re.search(r'"setuptools>=(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert wanted
    enough = int(metadata.version("setuptools").split(".")[0]) >= int(wanted[1])
    return ["--no-build-isolation"] if enough else []


def done(*command: str, cwd: Path) -> str:
    """What a command prints, which must succeed, in an environment that knows nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_the_checkout_is_out_of_reach(clean: Path, tmp_path: Path) -> None:
    program = f"import {', '.join(PACKAGES)}; print(*(one.__file__ for one in ({', '.join(PACKAGES)})), sep='\\n')"
    found = done(str(clean / "bin" / "python"), "-c", program, cwd=tmp_path).split()
    assert len(found) == len(PACKAGES)
    assert all(Path(one).is_relative_to(clean) for one in found)


def test_the_wheel_holds_the_rooms_and_nothing_else(clean: Path) -> None:
    [record] = clean.glob("lib/python*/site-packages/pitt_broker-*.dist-info/RECORD")
    tops = {line.partition("/")[0] for line in record.read_text().splitlines() if not line.startswith("../")}
    assert tops == {*PACKAGES, record.parent.name}


def test_a_night_is_ingested_by_workers_in_other_processes(clean: Path, tmp_path: Path) -> None:
    broker = str(clean / "bin" / "broker")
    made = ["--alerts", "100", "--duplicates", "10", "--damaged", "5", "--archive", "tar"]
    done(broker, "simulate", *made, "--out", "ztf", cwd=tmp_path)
    done(
        broker,
        "simulate",
        "--survey",
        "lsst",
        "--framing",
        "wire",
        "--alerts",
        "20",
        "--archive",
        "tar",
        "--out",
        "lsst",
        cwd=tmp_path,
    )
    nights = ["--input", "ztf", "--input", "lsst"]
    with subprocess.Popen(
        [broker, "ingest", *nights, "--warehouse", "warehouse", "--direct_num_workers", "2"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        workers: set[int] = set()
        while process.poll() is None:
            workers |= _workers_of(clean)
            time.sleep(0.05)
        assert process.stdout
        told = process.stdout.read()
    assert process.returncode == 0, told
    assert re.search(r"records read +135\b", told), told
    if sys.platform == "linux":
        assert len(workers) == 2

    assert ask(tmp_path / "warehouse", "SELECT count(*), count(DISTINCT alert_id) FROM ztf_alerts") == [(110, 100)]
    assert ask(tmp_path / "warehouse", "SELECT count(*) FROM dead_letters") == [(5,)]
    assert run(tmp_path / "here", tmp_path / "ztf", tmp_path / "lsst") == 0
    for table in ("ztf_alerts", "ztf_cutouts", "lsst_alerts", "lsst_cutouts"):
        assert rows(tmp_path / "warehouse", table).equals(rows(tmp_path / "here", table)), table


def _workers_of(environment: Path) -> set[int]:
    """The process ids of Beam's workers that run in an environment."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if b"sdk_worker" in words and words.startswith(str(environment).encode()):
            found.add(int(entry.parent.name))
    return found
