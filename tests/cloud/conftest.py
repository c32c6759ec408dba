"""Google's services for tests: emulators that speak the real protocols, and the real clients pointed at them."""

from tests.emulators.fixtures import cloud, pubsub

__all__ = ["cloud", "pubsub"]
