"""How far the relay says each partition of `webhooks.raw` goes: what a quiet tail is held against."""

from collections.abc import Mapping

from service.kafka import checkpoint, topics
from service.kafka.consumer import reader


class Watermark:
    """The relay's checkpoint, read when a partition has been quiet."""

    def __init__(self, *, bootstrap: str, prefix: str, log: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._log = log

    async def read(self) -> Mapping[int, int]:
        """Partition → position of the last record that the relay committed there."""
        async with reader(self._bootstrap) as consumer:
            published = await checkpoint.read(
                consumer, prefix=self._prefix, log=self._log, stream="deliveries"
            )
        return {} if published is None else published.last.get(topics.RAW, {})
