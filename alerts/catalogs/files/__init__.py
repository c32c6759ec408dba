"""Catalogs and lists in files: tables to positions, and the index by which they are searched."""
