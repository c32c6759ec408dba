"""The vocabulary: columns, tables and the surveys' Avro schemas. Imports nothing of ours, neither Beam nor google.cloud."""

from schemas.avro_files import known_schemas, parse_text
from schemas.table import Column, Table

__all__ = ["Column", "Table", "known_schemas", "parse_text"]
