"""A made-up night of alert packets and the truth about it: plan, sky, light curves, stamps, packets, damage, archives."""

from simulation.archive import ARCHIVES, write_night
from simulation.night import Night, SimulatedPacket, simulate_packets

__all__ = ["ARCHIVES", "Night", "SimulatedPacket", "simulate_packets", "write_night"]
