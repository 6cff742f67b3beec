"""Is this database the one whose log Kafka has? The checkpoint's row tells, by more than its position.

An older replica lacks the row; a log that has grown past the checkpoint again, or another log, has
another row there. Whoever publishes or folds refuses both: it would reuse positions.
"""

from pathlib import Path
from typing import Final

from service.errors import InvariantError
from service.kafka.checkpoint import Checkpoint
from service.kafka.headers import rfc3339
from service.postgres import Connection, statement

_SQL: Final = Path(__file__).parent
_STATEMENTS: Final = {"deliveries": "delivery_mark", "events": "event_mark"}


def mark(recorded_at: str, fingerprint: str) -> str:
    """What tells a row from another log's at the same position: its instant, and its hash or event id."""
    return f"{recorded_at} {fingerprint}"


async def refuse_another_log(connection: Connection, stream: str, published: Checkpoint) -> None:
    """Raises InvariantError unless the log `stream` has the very row that `published` rests on."""
    if published.position == 0:
        return
    found = await connection.fetchrow(statement(_SQL, _STATEMENTS[stream]), published.position)
    if found is None:
        raise _another(stream, published.position, "has no such row")
    its_own = mark(rfc3339(found["recorded_at"]), found["fingerprint"])
    if published.mark not in {None, its_own}:
        raise _another(stream, published.position, "has another row there")


def _another(stream: str, position: int, difference: str) -> InvariantError:
    return InvariantError(
        f"Kafka has {stream} up to position {position}, but this database {difference}: it is an older "
        "replica or another log. Point RECIBO_DATABASE_URL at the database that published, or, if its "
        "loss is final, use another topic prefix; going on now would reuse positions"
    )
