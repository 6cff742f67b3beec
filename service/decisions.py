"""An operator's decision on a dispute: appended to the log as a delivery like any other.

All input goes through the log, so a decision is folded, replayed and dated as everything else is. It
names the key of a contested fact, never an ordinal: what an earlier contest, learned late, would
shift. A crash before the append leaves nothing; after it the decision stands.
"""

import datetime as dt
import hashlib
from typing import Final, Literal

import orjson
import structlog

from projections.orders import contests_of
from projections.timeline import Timeline
from service.errors import PermanentError, TransientError
from service.eventlog.deliveries import NewDelivery, append_batch
from service.postgres import Connection, connect, sorted_errors
from service.readmodels import store

logger = structlog.get_logger()

OPERATOR: Final = "operator"
_UNDECIDED: Final = frozenset({"alerted", "open", "charged_back"})


async def decide(
    database_url: str,
    root: str,
    decision: Literal["lost", "closed"],
    *,
    ordinal: int | None = None,
    note: str | None = None,
) -> int:
    """Decide the latest dispute of the order `root` that waits for it, or the one with `ordinal`.

    Returns the log position of the decision. Raises PermanentError, and appends nothing, if there is
    no such dispute.
    """
    connection = await connect(database_url, application=OPERATOR)
    try:
        with sorted_errors(lost=TransientError):
            answers = await _answered(connection, root, ordinal)
            position = await append_batch(connection, [_delivery(root, decision, answers, note)])
    finally:
        await connection.close()
    logger.info("operator.decided", position=position, decision=decision)
    return position


async def _answered(connection: Connection, root: str, ordinal: int | None) -> str:
    """The key of the contested fact that the decision answers."""
    stored = (await store.load(connection, [root]))[root]
    if stored.timeline is None:
        raise PermanentError(f"no order {root}: name it as `recibo dispute ACCOUNT:order:ID …`")
    contests = contests_of(Timeline.decode(root, stored.timeline))
    if ordinal is not None:
        for contest in contests:
            if contest.dispute.ordinal == ordinal:
                return contest.last_key
        raise PermanentError(f"{root} has no dispute {ordinal}: it has {len(contests)}")
    waiting = [contest for contest in contests if contest.dispute.status in _UNDECIDED]
    if not waiting:
        raise PermanentError(
            f"{root} has no dispute that is alerted, open or charged_back: "
            "name one that has ended with --ordinal"
        )
    return waiting[-1].last_key


def _delivery(root: str, decision: str, answers: str, note: str | None) -> NewDelivery:
    now = dt.datetime.now(dt.UTC)
    body = orjson.dumps(
        {
            "root": root,
            "answers": answers,
            "decision": decision,
            "decided_at": now.isoformat(timespec="microseconds"),
            "note": note,
        }
    )
    return NewDelivery(
        source=OPERATOR,
        account=OPERATOR,
        provider=OPERATOR,
        root=root,
        kind=None,
        received_at=now,
        trust=OPERATOR,
        remote_ip=None,
        headers="{}",
        body=body,
        body_sha256=hashlib.sha256(body).digest(),
    )
