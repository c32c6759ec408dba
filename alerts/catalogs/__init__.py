"""Known sources on the sky: CDS X-Match and catalog files behind one interface."""
