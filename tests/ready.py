"""Modules run as programs in processes of their own, copied from one that has imported Beam already, once and not for each.

>>> run_module("pipelines.ingest", "--input", night, TZ="UTC").returncode
"""

from __future__ import annotations

import os
import runpy
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


def _run(module: str, words: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> None:
    for name, number in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
