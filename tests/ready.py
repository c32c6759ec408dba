"""Programs in processes of their own, copied from one that has imported what takes long already, once and not for each.

>>> run_module("pipelines.ingest", "--input", night, TZ="UTC").returncode
>>> with Program("from broker import ztf_archive as z; z.download_data()") as process: ...
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.within import CONTEXT

_SECS = 120


def run_module(module: str, *words: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """What ``python -m module words`` does with these variables more in its environment, and says."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        arguments = (module, [str(one) for one in words], {**os.environ, **environment}, os.getcwd(), str(out), str(err))
        process = CONTEXT.Process(target=_run, args=arguments)
        process.start()
        try:
            process.join(_SECS)
            assert process.exitcode is not None, f"{module} took longer than {_SECS} s"
        finally:
            process.kill()
            process.join()
        said = (file.read_text(encoding="utf-8") if file.exists() else "" for file in (out, err))
        return subprocess.CompletedProcess([module, *arguments[1]], process.exitcode, *said)


class Program:
    """What ``python -c text`` does in this environment and folder, for tests that strike it; used as a ``subprocess.Popen``."""

    def __init__(self, text: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name, name) for name in ("out", "err")]
        arguments = (text, dict(os.environ), os.getcwd(), *map(str, self._files))
        self._process = CONTEXT.Process(target=_execute, args=arguments)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """None while it runs, and as a negative number the signal that ended it."""
        return self._process.exitcode

    poll = returncode.fget

    def send_signal(self, number: signal.Signals) -> None:
        """A signal, if it still runs."""
        if self.returncode is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it, now."""
        self._process.kill()

    def wait(self) -> int | None:
        """Its end."""
        self._process.join()
        return self.returncode

    def communicate(self) -> tuple[bytes, bytes]:
        """What it has said on stdout and stderr, when it has ended."""
        self.wait()
        out, err = (file.read_bytes() if file.exists() else b"" for file in self._files)
        return out, err

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._folder.cleanup()


def _execute(text: str, environment: dict[str, str], folder: str, out: str, err: str) -> None:
    _become(environment, folder, out, err)
    # A child inherits that SIGINT is ignored, as it is for what a script starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        exec(text, {"__name__": "__main__"})
    except KeyboardInterrupt:
        # As Python itself ends then.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _run(module: str, words: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> None:
    _become(environment, folder, out, err)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _become(environment: dict[str, str], folder: str, out: str, err: str) -> None:
    for name, number in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
