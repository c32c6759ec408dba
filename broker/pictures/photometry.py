"""What the titles of pictures say of an alert's own brightness."""

from __future__ import annotations

import math

from alerts.light_curve import measured
from alerts.surveys import Survey
from broker.pictures.packets import Packet, first


def brightness(packet: Packet, survey: Survey) -> str:
    """The brightness of the alert itself, in the packet's own unit, with its error: ``17.86 ± 0.07 mag``."""
    facts = survey.photometry
    record = packet.get(facts.series[0].name) if facts else None
    if facts is None or not record:
        return "brightness unknown"
    found = measured(record, facts.series[0], facts)
    value, error = found["sent"], found["sent_error"]
    if math.isnan(value):
        return "brightness unknown"
    figures = 2 if facts.quantity == "magnitude" else 0 if abs(value) >= 100 else 1
    spread = "" if math.isnan(error) else f" ± {error:.{figures}f}"
    said = f"{value:.{figures}f}{spread} {facts.unit}".replace("-", "\N{MINUS SIGN}")
    return f"{said} (fainter than the template)" if found["is_negative"] and facts.quantity == "magnitude" else said


def band_of(packet: Packet, survey: Survey) -> str:
    """The band of the alert; empty where nobody has told where it is."""
    facts = survey.photometry
    return "" if facts is None else facts.band_name(first(packet.get(facts.series[0].name) or {}, facts.series[0].band))
