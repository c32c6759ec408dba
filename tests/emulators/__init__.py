"""Google Cloud on loopback, for tests and the demo: see ``tests.emulators.cloud.running``."""
