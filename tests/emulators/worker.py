"""The plugin for a Beam runner's worker processes, ``--beam_plugins=tests.emulators.worker``: emulators by the environment."""

from __future__ import annotations

import os

from tests.emulators import settings

# Kept, as it undoes itself when it is collected.
_pointed = settings.point_clients(dict(os.environ))
_pointed.__enter__()
