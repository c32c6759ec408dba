"""A stand-in for CDS X-Match on this machine."""
