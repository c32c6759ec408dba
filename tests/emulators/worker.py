"""The plugin for a Beam runner's worker processes, ``--beam_plugins=tests.emulators.worker``: emulators by the environment."""

from __future__ import annotations

import os

from tests.emulators import settings

settings.point_clients(dict(os.environ)).__enter__()
