"""How far the relay says each log goes: what a quiet tail, and the database itself, are held against."""

from collections.abc import Mapping

from service.kafka import checkpoint, topics
from service.kafka.checkpoint import Checkpoint
from service.kafka.consumer import reader


class Watermark:
    """The relay's checkpoints, read when partitions come and when one has been quiet."""

    def __init__(self, *, bootstrap: str, prefix: str, log: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._log = log

    async def read(self) -> Mapping[str, Checkpoint]:
        """`deliveries` and `events` → the relay's checkpoint; neither before it has published."""
        async with reader(self._bootstrap) as consumer:
            found = {
                stream: await checkpoint.read(consumer, prefix=self._prefix, log=self._log, stream=stream)
                for stream in checkpoint.PARTITION_OF_STREAM
            }
        return {stream: published for stream, published in found.items() if published is not None}


def ends(checkpoints: Mapping[str, Checkpoint]) -> Mapping[int, int]:
    """Partition of `webhooks.raw` → position of the last record that the relay committed there."""
    published = checkpoints.get("deliveries")
    return {} if published is None else published.last.get(topics.RAW, {})
