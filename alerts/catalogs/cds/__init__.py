"""CDS X-Match: the question, the call, the answer."""
