"""Beam transforms: a transform wires, a function of ``alerts`` thinks."""
