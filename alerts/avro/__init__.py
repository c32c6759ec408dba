"""Bytes to Arrow: containers, archives and wire messages, their schemas, and the decoder."""
