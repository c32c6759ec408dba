"""What tests of whole runs share."""

from __future__ import annotations

import pytest

from transforms.metrics import METRICS


@pytest.fixture(autouse=True)
def no_labels_yet() -> None:
    """A process uses only so many labels of a metric, and other tests of this one may have used them up."""
    for metric in METRICS:
        metric._used.clear()
