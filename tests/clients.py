"""Other people's clients, as they are published: run in an environment of their own, which tests skip without."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
_PYTHON = ROOT / ".venv-clients" / "bin" / "python"


def told_by(program: str, *words: str, environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The lines of JSON that a program prints; the test is skipped where the clients are not installed."""
    if not (ROOT / ".venv-clients" / "installed").exists():
        pytest.skip("others' clients are not installed: make .venv-clients/installed")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | dict(environment or {})
    done = subprocess.run([_PYTHON, program, *words], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
