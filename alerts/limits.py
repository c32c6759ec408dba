"""Limits on what comes from outside, each kept before memory is taken for it. ``docs/limits.md`` says what happens beyond them.

Packets, archives and answers come from the network: whoever writes them may lie about lengths, or pack much into little. The
largest that surveys and catalogs have been seen to send stand beside the limits.
"""

from __future__ import annotations

_KIB, _MIB = 2**10, 2**20

# Archives and files

MAX_MEMBER_BYTES = 256 * _MIB
"""One member of an archive; it is read whole. A packet is some 0.1 MB, a night of them in one container file may be more."""
MAX_MEMBER_NAME_BYTES = 64 * _KIB
"""A long name, or a pax header, of a tar member."""
MAX_CLAIMED_BYTES = 2**50
"""The size that a tar header may claim for what is passed over unread; more is damage."""
MAX_PADDING_BYTES = 64 * _MIB
"""Zeros behind an archive's end mark. Writers put 10 kB; a gzip'd archive makes gigabytes of them from a few MB."""
MAX_UNPACKED_TIMES = 1_100
"""How many times as long as its compressed bytes a bzip2 or xz stream may be. Packets shrink to a tenth, gzip cannot reach
1,033; a megabyte of bzip2 makes a terabyte."""
UNPACKED_FREELY_BYTES = 64 * _MIB
"""So much whatever its compressed length."""
MAX_XZ_MEMORY_BYTES = 128 * _MIB
"""What an xz stream may ask for to be unpacked; ``xz -9`` asks for 65 MiB."""

# Framing of packets

MAX_CONTAINER_HEADER_BYTES = 1 * _MIB
"""The header of an Avro container file, which holds its schema."""
MAX_BLOCK_BYTES = 256 * _MIB
"""A block of an Avro container file, as it stands there and decompressed."""
MAX_ALERT_BYTES = 64 * _MIB
"""The datum of one alert. The largest of Rubin's are 0.6 MB; BigQuery takes rows of no more than 100 MB."""
MIN_ALERT_BYTES = 13
"""No alert is shorter: an id, a time and a position. A block of more records than it has room for is one dead letter."""
MAX_SCHEMA_TIMES_DATUM = 64
"""A dead letter of one record among others repeats the schema of all; not one so many times as long as the record."""
MAX_PAYLOAD_BYTES = 6 * _MIB
"""A dead letter keeps its input up to this size (BigQuery takes rows of 10 MB, and the payload in base64)."""

# What an alert may hold

MAX_ALERT_VALUES = 2**20
"""Values in one alert that is read record by record: numbers, texts, nulls, records, arrays, keys of maps. Each becomes an
object of up to some 200 bytes. Rubin's longest histories are some 200,000."""
MAX_ALERT_DEPTH = 32
"""Records, arrays and maps inside each other in one alert. Surveys have 4."""
MAX_DECIMAL_BYTES = 64
"""A decimal number: 154 digits. Python takes hours to write one of megabytes."""
MAX_BATCH_ROWS = 2**18
"""Array items in a batch that is decoded at once, in each array; a batch with more is halved. 256 of Rubin's longest
histories are some 280,000."""

# Schemas

MAX_SCHEMA_BYTES = 256 * _KIB
"""The text of a schema. Rubin's with all their documentation are 55 kB."""
MAX_SCHEMA_DEPTH = 64
"""Brackets inside each other in the text of a schema. Surveys have 9."""
MAX_SCHEMA_PARTS = 20_000
"""Names, numbers, lists and objects in a schema. Surveys have some 1,500 without documentation."""
MAX_NAME_CHARACTERS = 256
"""A name, a version or a logical type in a schema. BigQuery's columns have names of up to 300."""
MAX_KEPT_SCHEMAS_BYTES = 4 * _MIB
"""Texts of the schemas that a process keeps parsed, some 30 times as large; those that were not met for longest go."""
MAX_WIRE_REFUSALS = 10_000
"""Schema ids of wire messages that a process remembers to be unknown."""
REGISTRY_DEADLINE_SECS = 10.0
"""For a schema registry's whole answer; after a failure nothing is asked for a while."""
MAX_REGISTRY_ANSWER_BYTES = 1 * _MIB
"""A schema registry's answer."""

# Stamps

MAX_STAMP_BYTES = 4 * _MIB
"""The largest image that is taken for a stamp, unpacked: no packet's picture comes near it (Rubin's largest has 12 kB)."""

# Messages

MAX_ATTRIBUTES_BYTES = 128 * _KIB
"""Attributes of a message, which a dead letter keeps: all that Pub/Sub allows, 100 names of 256 bytes and 1 kB for each."""

# Answers of catalogs

MAX_ANSWER_BYTES = 256 * _MIB
"""A catalog service's answer, decompressed."""
MAX_DECLARATION_BYTES = 16 * _MIB
"""The VOTable in which a service says what columns a catalog has; some hundred kB for Gaia's 150."""
MAX_ANSWER_TABLE_BYTES = 512 * _MIB
"""The same as columns of numbers and texts: a row of commas takes ten times its length."""
MAX_ANSWER_COLUMNS = 2_000
"""Columns that a service declares for a catalog. Gaia has 150."""
MAX_ANSWER_ROWS = 200_000
"""Rows of an answer, far below the 2,000,000 at which CDS cuts without a word. It is asked for no more."""

MAX_FILTER_US = 1000.0
"""What a filter may take of each alert in the long run: some three times what decoding a ZTF packet takes."""

MAX_COLUMNS_BYTES = 1024
"""A filter's columns beside a message, as JSON: what Pub/Sub takes of an attribute."""

# Lists of one's own

MAX_LISTS = 256
"""Watchlists and regions of a run together: a process keeps them all open."""

# Regions of the sky

MAX_REGION_BYTES = 512 * _MIB
"""A region's file, and what it unpacks to. LIGO's largest maps of one order, 12,582,912 pixels of four columns, have 403 MB."""
MAX_REGION_PIXELS = 2**24
"""Pixels of a sky map: those of NSIDE 1024, and a third more. Multi-order ones have some 20,000."""
MAX_REGION_RANGES = 2**22
"""Ranges of a coverage map. Those of whole surveys have some 100,000."""
MAX_POLYGON_CORNERS = 2_000
"""Corners of a polygon, each of whose sides is held against all others."""
MAX_REGION_CORNERS = 5_000
"""Corners of all polygons of a file: a focal plane of 189 sensors has 756."""
