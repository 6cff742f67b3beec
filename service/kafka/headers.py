"""The headers of our records: CloudEvents 1.0 in binary mode, plus what a receiver needs of the log.

`log`, `position` and `prev` let a consumer drop repeats and see gaps: `prev` is the previous
position of this log in this topic and partition, absent on the first record there and on compacted
topics. Payload bytes are never touched (cloudevents/spec, Kafka protocol binding 1.0.2, 3.2).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from projections.delivery import Delivery
from service.errors import InvariantError

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

MARKER_TYPE: Final = b"record.too_large"
"""`ce_type` of the small record in place of one that Kafka refused."""

Headers = Sequence[tuple[str, bytes]]

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)

SPECVERSION: Final = ("ce_specversion", b"1.0")


def receipt(log: str, position: int) -> str:
    """The name of a delivery everywhere: in the answer, as `ce_id`, in the quarantine."""
    return f"{log}-{position}"


def position_in(event_id: str) -> int:
    """The log position in the id of a quarantine's event, `<receipt>/quarantined`."""
    return int(event_id.partition("/")[0].rpartition("-")[2])


def nanoseconds(instant: dt.datetime) -> int:
    """Nanoseconds since the epoch of an aware instant."""
    return (instant - _EPOCH) // _MICROSECOND * 1000


def milliseconds(instant: dt.datetime) -> int:
    """Milliseconds since the epoch of an aware instant: a Kafka record's timestamp."""
    return int(instant.timestamp() * 1000)


def rfc3339(instant: dt.datetime) -> str:
    """`2025-11-03T13:02:10.412000Z` of an aware instant in UTC: always six digits."""
    return instant.isoformat(timespec="microseconds")[:-6] + "Z"


def is_marker(headers: Mapping[str, bytes]) -> bool:
    """Return whether the record is a marker in the place of one that Kafka refused for its size."""
    return headers.get("ce_type") == MARKER_TYPE


def delivery_of(record: "ConsumerRecord[bytes, bytes]", headers: dict[str, bytes]) -> Delivery:
    """The delivery that a record of `webhooks.raw` carries.

    Raises InvariantError if a header is missing: something else writes to the topic.
    """
    try:
        key = headers["ce_partitionkey"].decode()
        kind = headers.get("kind")
        return Delivery(
            position=int(headers["position"]),
            source=headers["source"].decode(),
            account=headers["account"].decode(),
            provider=headers["provider"].decode(),
            root=None if key.startswith("?") else key,
            kind=None if kind is None else kind.decode(),
            trust=headers["trust"].decode(),
            received_at=nanoseconds(dt.datetime.fromisoformat(headers["ce_time"].decode())),
            recorded_at=nanoseconds(dt.datetime.fromisoformat(headers["recorded_at"].decode())),
            body=record.value or b"",
        )
    except (KeyError, ValueError) as error:
        raise InvariantError(
            f"{record.topic}-{record.partition} offset {record.offset} is no delivery of ours "
            f"({type(error).__name__}): only the relay may write to this topic"
        ) from None
