"""The science: packets, decoding, cutouts, catalogs. Usable in a notebook without Beam, which nothing here imports."""
