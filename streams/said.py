"""What goes wrong again and again, said once a minute."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

SAY_EVERY_SECS = 60.0


@dataclass
class Said:
    """Says something, unless something was said within the last minute."""

    log: logging.Logger
    at: float = -SAY_EVERY_SECS

    def say(self, text: str) -> None:
        """As a warning of that log."""
        if time.monotonic() - self.at >= SAY_EVERY_SECS:
            self.at = time.monotonic()
            self.log.warning("%s", text)
