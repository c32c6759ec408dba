"""Columns that several tables have."""

from __future__ import annotations

from schemas.table import Column

NIGHT = Column("night", "DATE", "REQUIRED", "Night of the observation, as the survey's site counts nights.")
ALERT_ID = Column("alert_id", "INT64", "REQUIRED", "The survey's id of this alert; exceeds 2^53, never pass it through a float.")
OBJECT_ID = Column("object_id", "STRING", "NULLABLE", "The survey's id of the object the alert belongs to.")
PACKET_DIGEST = Column("packet_digest", "BYTES", "REQUIRED", "XXH3-128 of the Avro datum, without framing or container header.")
SURVEY = Column("survey", "STRING", "REQUIRED", "Name of the survey: ztf, lsst, ...")
RUN_ID = Column("run_id", "STRING", "REQUIRED", "The run that wrote this row.")
