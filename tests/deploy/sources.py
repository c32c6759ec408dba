"""Copies of what a distribution is built from, so that building it leaves no trace in the checkout."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")


def copied_by_dockerfile() -> list[str]:
    """What ``deploy/Dockerfile`` copies from the checkout into the image."""
    text = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    copies = [line.split()[1:] for line in text.splitlines() if re.match(r"COPY\s+(?!--from)", line)]
    return [source for words in copies for source in words[:-1]]


def copy_sources(target: Path, names: list[str]) -> Path:
    """Copy files and folders of the checkout; gives ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=_NOT_SOURCES)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target
