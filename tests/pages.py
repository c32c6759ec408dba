"""README and docs as programs: their fenced blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLOUD = re.compile(r"gs://|bigquery://|projects/|\$[A-Z]+|^(gcloud|docker|export|echo)\b")
"""What only a cloud can do, or an emulator of one."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page} #{self.number}: {self.text.strip().splitlines()[0][:60]}"


def pages() -> list[str]:
    """README, CONTRIBUTING and the docs, by their paths in the project."""
    return [
        "README.md",
        "CONTRIBUTING.md",
        *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
    ]


def blocks(page: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, those in a list's item too."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    made = [
        Block(page, number, named, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))
        for number, (indent, named, body) in enumerate(found)
    ]
    return [one for one in made if language is None or one.language == language]


def commands(block: Block) -> Iterator[str]:
    """The commands of a block of sh, each whole: continued lines and quotes over lines are one; without comments."""
    waiting = ""
    for line in block.text.splitlines(keepends=True):
        waiting += line
        if waiting.endswith("\\\n"):
            waiting = waiting[:-2]
            continue
        try:
            words = shlex.split(waiting, comments=True)
        except ValueError:
            # Within quotes.
            continue
        if words:
            yield waiting.strip()
        waiting = ""
    assert not waiting.strip(), f"{block} ends within a command"
