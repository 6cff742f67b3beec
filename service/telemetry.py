"""What a running role tells its operator: log lines on stderr, metrics for Prometheus.

Log lines are constant event names plus keys, one JSON object a line (readable columns on a terminal),
instants in UTC. No line carries a secret, a header's value or a part of a body: an exception is shown
as its type and the places in the code it passed through, never by its text, unless it is our own.

Every metric of Recibo is declared below, each with what it means when it rises. A crash loses the
counts since the last scrape and nothing else.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

from service.errors import ReciboError

Event = MutableMapping[str, object]

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

# The ingress.

INGRESS_DELIVERIES: Final = Counter(
    "recibo_ingress_deliveries_total",
    "Deliveries answered, by outcome. `stored` rises: normal. `quarantined`: a sender's format changed or "
    "is not understood. `unavailable`: log and spill are away or the queue is full, senders are told to "
    "retry.",
    ["source", "outcome"],
)
INGRESS_REFUSED: Final = Counter(
    "recibo_ingress_refused_total",
    "Requests refused, by source and reason; no source where the request names none that is declared. The "
    "kind of a check rises: after a rotation the provider still uses an old secret, at other times somebody "
    "guesses. `path`, `method`, `unknown source`: a wrong URL is registered somewhere, or a scanner passes. "
    "`empty body`, `broken body`, `large body`, `slow body`: a sender is at fault. `unavailable`: log and "
    "spill are away. `long head`, `malformed head`, `slow head`: no HTTP, or a proxy adds much. `failed`: "
    "a bug, see the log line ingress.failed.",
    ["source", "reason"],
)
INGRESS_TURNED_OUT: Final = Counter(
    "recibo_ingress_turned_out_total",
    "Connections closed because connections_max were open: the one idle longest, those on which no check was "
    "passed first. Rises: somebody opens many; let the proxy limit them by address.",
)
INGRESS_CONNECTIONS: Final = Gauge(
    "recibo_ingress_connections",
    "Open connections, by whether a request on them ever passed its source's checks. `no` rises: somebody "
    "opens many and sends nothing that is kept. `yes` rises: senders keep more connections open.",
    ["passed"],
)
INGRESS_QUEUE_ROWS: Final = Gauge(
    "recibo_ingress_queue_rows",
    "Deliveries that wait to be kept. Stays high: Postgres is slower than the senders; at its limit "
    "they get 503.",
)
INGRESS_QUEUE_BYTES: Final = Gauge(
    "recibo_ingress_queue_bytes", "Bytes of the deliveries that wait. Rises with large bodies or a slow log."
)
INGRESS_BATCH_ROWS: Final = Histogram(
    "recibo_ingress_batch_rows",
    "Deliveries per append. Rises with load, as it should: one fsync serves more of them.",
    buckets=_ROWS,
)
INGRESS_APPEND_SECONDS: Final = Histogram(
    "recibo_ingress_append_seconds",
    "Seconds until one batch was kept or refused. Rises: slow disk, lock waits, or Postgres going away.",
    buckets=_SECONDS,
)
INGRESS_OUTCOME_UNKNOWN: Final = Counter(
    "recibo_ingress_outcome_unknown_total",
    "Deliveries whose append, or whose way into the spill, may or may not have happened. Rises when "
    "Postgres or Kafka restarts; each may be in the log twice, which the fold takes as a repeat.",
)
INGRESS_ROOT_FAILURES: Final = Counter(
    "recibo_ingress_root_failures_total",
    "Deliveries stored without a root because an adapter raised what it must not. Rises: a bug in it.",
    ["source"],
)
INGRESS_LOG_AWAY: Final = Gauge(
    "recibo_ingress_log_away",
    "1 while deliveries go to webhooks.spill instead of the log. Rises: Postgres is away or too slow; "
    "nothing is lost, mend Postgres.",
)
INGRESS_SPILL_AWAY: Final = Gauge(
    "recibo_ingress_spill_away",
    "1 while webhooks.spill could not take deliveries: Kafka is away, or the topic is missing or wrong. "
    "Rises: nothing is refused while the log is there; mend Kafka, or the topic, before both are away.",
)
INGRESS_SPILLED: Final = Counter(
    "recibo_ingress_spilled_total",
    "Deliveries written to webhooks.spill. Rises while Postgres is away; the drain brings them into the log.",
)
INGRESS_SPILL_SECONDS: Final = Histogram(
    "recibo_ingress_spill_seconds",
    "Seconds until Kafka had one batch of the spill on disk. Rises: Kafka's disk or replication is slow.",
    buckets=_SECONDS,
)

# The drain of the spill.

DRAIN_APPENDED: Final = Counter(
    "recibo_drain_appended_total",
    "Spilled deliveries appended to the log. Rises after Postgres was away. Stands still while some wait: "
    "see the log lines of the drain.",
)
DRAIN_WAITING: Final = Gauge(
    "recibo_drain_waiting",
    "Spilled deliveries that are not in the log yet, as of the drain's last look. Stays up with Postgres "
    "back: no drain runs, or it is too slow.",
)
DRAIN_MISSING: Final = Counter(
    "recibo_drain_missing_total",
    "Offsets of webhooks.spill that Kafka no longer had when they were to be drained. Any rise is a loss: "
    "somebody deleted records, or Kafka lost what it had acknowledged.",
)

# Every role.

STALLED: Final = Gauge(
    "recibo_role_stalled",
    "Whether the last step of the role was given up because it took over stalled_after_s. The log line "
    "role.stalled names the step; stays up: a server takes requests and answers none.",
    ["role"],
)
WAITING: Final = Gauge(
    "recibo_waiting",
    "1 while a role waits for a store (postgres, kafka) that is away. Stays 1 while the store is well: the "
    "role cannot reach it, or its login is refused.",
    ["role", "store"],
)

# The log.

PARTITIONS_FAILING: Final = Gauge(
    "recibo_partitions_failing",
    "1 while no partition can be made ahead of a log; it is tried each minute. Stays 1: a transaction holds "
    "the default partition (pg_dump, an analyst's query); after two hours of full load rows fall into it.",
    ["log"],
)
LOG_REFUSED: Final = Counter(
    "recibo_log_refused_total",
    "Deliveries that Postgres refuses as rows of the log, set aside in refused_delivery. Any rise: somebody "
    "sends what the log cannot hold, or a trigger was added; see `recibo quarantine list`.",
)
LOG_CLOCK_AHEAD: Final = Counter(
    "recibo_log_clock_ahead_total",
    "Appends while the log's time ran over a minute ahead of the database's clock. Any rise is an alarm: "
    "a clock jumped, and recorded_at creeps until the clock has caught up.",
)

# The relay.

RELAY_PUBLISHED: Final = Counter(
    "recibo_relay_published_total",
    "Log rows committed to Kafka, by stream (deliveries, events). Stops rising under load: see the lag.",
    ["stream"],
)
RELAY_POSITION: Final = Gauge(
    "recibo_relay_position",
    "The last position committed to Kafka. Stands still while the log's head moves: Kafka is away.",
    ["stream"],
)
RELAY_LAG_POSITIONS: Final = Gauge(
    "recibo_relay_lag_positions",
    "Rows in the log that are not in Kafka yet. Keeps growing: Kafka is away, or the relay too slow.",
    ["stream"],
)
RELAY_PASSES: Final = Counter(
    "recibo_relay_passes_total",
    "Transactions committed. Rises as fast as the rows do: batches are tiny.",
    ["stream"],
)
RELAY_PASS_SECONDS: Final = Histogram(
    "recibo_relay_pass_seconds",
    "Seconds of one pass, read to commit. Rises: Kafka's coordinator or disk is slow.",
    ["stream"],
    buckets=_SECONDS,
)
RELAY_RESTARTS: Final = Counter(
    "recibo_relay_restarts_total",
    "Times that producer and lock were thrown away after an error. Keeps rising: two relays fight, or a "
    "server flaps.",
    ["stream"],
)
RELAY_TOO_LARGE: Final = Counter(
    "recibo_relay_too_large_total",
    "Records that Kafka refused for their size, by topic: a marker went out in the place of each, none on a "
    "compacted topic. Any rise: run `recibo topics`; the log line names root and size.",
    ["topic"],
)
RELAY_LEADING: Final = Gauge(
    "recibo_relay_leading", "1 where this process publishes the log, 0 where it stands by.", ["stream"]
)

# The projector.

PROJECTOR_FOLDED: Final = Counter(
    "recibo_projector_folded_total", "Deliveries folded into state. Stops rising under load: see the lag."
)
PROJECTOR_REPEATS: Final = Counter(
    "recibo_projector_repeats_total",
    "Records dropped because their position was reached before. Rises after a crash or a rebalance.",
)
PROJECTOR_GAP_ROWS: Final = Counter(
    "recibo_projector_gap_rows_total",
    "Rows that Kafka lacked and the log supplied. Any rise: Kafka lost records that it had acknowledged.",
)
PROJECTOR_QUARANTINED: Final = Counter(
    "recibo_projector_quarantined_total",
    "Deliveries that the code cannot interpret. Rises: a provider changed or added something; look at "
    "`recibo quarantine list`.",
    ["provider"],
)
PROJECTOR_PARKED: Final = Counter(
    "recibo_projector_parked_total",
    "Roots set aside, each time that deliveries of one were: see `recibo parked list`. Rises without "
    "recibo_projector_too_large_total: a bug of the fold.",
)
PROJECTOR_TOO_LARGE: Final = Counter(
    "recibo_projector_too_large_total",
    "Roots set aside because they passed fold.facts_max or fold.state_bytes_max. Rises: a sender repeats one "
    "order without end, or its texts are very long; see `recibo parked list`.",
)
PROJECTOR_EVENTS: Final = Counter(
    "recibo_projector_events_total", "Domain events written to the event log, by topic.", ["topic"]
)
PROJECTOR_LAG_SECONDS: Final = Gauge(
    "recibo_projector_lag_seconds",
    "Age of the delivery that was folded last, when it was. Keeps growing: the projector is too slow.",
)
PROJECTOR_HALVED: Final = Counter(
    "recibo_projector_halved_total",
    "Batches that failed, or made too many bytes of events, and were tried again with half of their "
    "deliveries. Keeps rising: Postgres is too slow for a batch, or one root has a very long timeline.",
)
PROJECTOR_BATCH_SECONDS: Final = Histogram(
    "recibo_projector_batch_seconds",
    "Seconds of one batch, records to commit. Rises: Postgres is slow, or roots have long timelines.",
    buckets=_SECONDS,
)
PROJECTOR_RESTARTS: Final = Counter(
    "recibo_projector_restarts_total",
    "Times that consumer and connection were thrown away after an error. Keeps rising: a server flaps.",
)


def configure(*, level: str = "info") -> None:
    """Send the log lines of this process, the libraries' included, to stderr. Call once, at its start."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_exception,
    ]
    structlog.configure(
        processors=[*shared, _renderer()],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer()],
        )
    )
    # Libraries speak up from warnings on: their chatter at info is about every connection.
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
    if threshold > logging.DEBUG:
        # While Kafka is away aiokafka has ten errors a second to tell; the roles say it once.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def describe_exception(_logger: object, _method: str, event: Event) -> Event:
    """Replace `exc_info` by `error` (its type) and `where` (the frames it passed, innermost last).

    The text is kept (`detail`) only of our own errors, which never carry a secret or a part of a body,
    and the system's word of an OSError; that of others quotes values.
    """
    raised = _exception_of(event.pop("exc_info", None))
    if raised is not None:
        event["error"] = type(raised).__name__
        event["where"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(raised.__traceback__)
        ]
        if isinstance(raised, ReciboError):
            event["detail"] = str(raised)
        elif isinstance(raised, OSError) and raised.strerror:
            event["detail"] = raised.strerror
    return event


def _exception_of(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None


def _renderer() -> structlog.typing.Processor:
    if sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer(default=str)
