"""The fast tests on other versions of Python than CI's, each in an environment of its own that stays for the next time.

    python -m deploy.other_pythons 3.12 3.13        (or: make test-pythons)

A version is found as ``python3.12`` on the path, else where pyenv keeps it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAST = (
    "tests/alerts",
    "tests/schemas",
    "tests/transforms",
    "tests/warehouses",
    "tests/pipelines/test_ends.py",
    "tests/broker/test_cli.py",
)
"""Some minutes: decoding, tables, folders, and whole runs behind the commands; no emulator."""
PINNED_OTHERWISE = ("google-apitools",)
"""What ``constraints.txt`` pins for CI's Python and Beam asks another version of on 3.13."""
_CHOSEN = "not remote and not faults and not cost"


def interpreter(version: str) -> str | None:
    """The command of a Python of this version (``3.12``); None where this machine has none."""
    places = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        known = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout.split()  # noqa: S607
        mine = [name for name in known if name.startswith(f"{version}.")]
        for name in mine[-1:]:
            prefix = subprocess.run(["pyenv", "prefix", name], capture_output=True, text=True, check=False)  # noqa: S603, S607
            places.append(f"{prefix.stdout.strip()}/bin/python")
    return next((place for place in places if place and _version_of(place) == version), None)


def _version_of(command: str) -> str:
    """What a command says that it is; empty where it does not run (pyenv's shims, of versions that are not chosen)."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        said = subprocess.run([command, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""


def environment(version: str, command: str) -> Path:
    """The Python of ``.venv-VERSION``, with the checkout and its extras installed, anew where ``setup.py`` is newer."""
    folder = ROOT / f".venv-{version}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    asked = max((ROOT / name).stat().st_mtime for name in ("setup.py", "constraints.txt"))
    if not stamp.exists() or stamp.stat().st_mtime < asked:
        subprocess.run([command, "-m", "venv", str(folder)], check=True)  # noqa: S603
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "constraints.txt").write_text("".join(pin for pin in pins if pin.partition("==")[0] not in PINNED_OTHERWISE))
        wanted = ["--constraint", str(folder / "constraints.txt"), "--editable", f"{ROOT}[notebook,test]"]
        subprocess.run([*pip, *wanted], check=True)  # noqa: S603
        stamp.touch()
    return python


def main(argv: Sequence[str] | None = None) -> int:
    """Test each version; gives the exit status: 1 where tests fail, or a version is not on this machine."""
    parser = argparse.ArgumentParser("other_pythons")
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="for example 3.12")
    parser.add_argument("--tests", nargs="+", default=FAST, metavar="PATH", help="default: the fast ones")
    given = parser.parse_args(argv)
    failed = []
    for version in given.versions:
        command = interpreter(version)
        if command is None:
            sys.stderr.write(f"no Python {version} is on this machine: neither python{version} on the path nor in pyenv\n")
            failed.append(version)
            continue
        sys.stdout.write(f"== Python {version}\n")
        sys.stdout.flush()
        tests = ["-m", "pytest", "-c", "pyproject.toml", "-q", "-n", "2", "--dist", "loadfile", "-m", _CHOSEN, *given.tests]
        ran = subprocess.run([str(environment(version, command)), *tests], cwd=ROOT, check=False)  # noqa: S603
        failed += [version] if ran.returncode else []
    if failed:
        sys.stderr.write(f"not passed on Python {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
