"""A made-up night of alert packets and the truth about it: plan, sky, light curves, stamps, packets, damage, archives."""

from broker.simulation.archive import ARCHIVES, write_night
from broker.simulation.night import Night, SimulatedPacket, simulate_packets

__all__ = ["ARCHIVES", "Night", "SimulatedPacket", "simulate_packets", "write_night"]
