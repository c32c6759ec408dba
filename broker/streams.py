"""Listen to what filters pass: messages one by one as they come, or as a table.

>>> from broker import streams
>>> for hit in streams.listen("kafka:HOST:9092/ztf-fast"):
...     print(hit.object_id, hit.columns, hit.alert()["candidate"]["magpsf"])
>>> streams.table_of(streams.listen("folder:hits/ztf-fast", once=True)).to_pandas()
"""

from pipelines.listening import listen, table_of
from streams.errors import StreamProblem
from streams.listener import StreamListener
from streams.listening import Received

__all__ = ["Received", "StreamListener", "StreamProblem", "listen", "table_of"]
