"""The settings: `recibo.toml` and the environment, parsed once into frozen values.

In: the process's environment and the path of the file. Out: `Settings`, or one ConfigurationError that
lists every fault there is, before a socket opens. Nothing is written and nothing is remembered.

Secrets come by reference (`env:NAME`, `file:PATH`), never in the file itself; no repr of a value here
and no fault shows one. recibo.example.toml names every key.
"""

import dataclasses
import re
import tomllib
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from projections.facts import Reading
from service.checks import Check, read_checks
from service.declarations import Declaration, Faults, Network, Secrets

LOG_NAME: Final = "main"

PROVIDERS: Final = ("admin", "aprovei", "barte", "gen")
"""Those that a source may declare; `operator` is what is decided here and is never posted."""

HEADERS_ALWAYS_KEPT: Final = frozenset(
    {"content-type", "content-encoding", "content-length", "user-agent", "date"}
)

_HEADERS_NEVER_KEPT: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
_BODY_BYTES_MAX: Final = 1_048_576
"""Beyond it a record would not fit Kafka's 2 MiB and would block all behind it."""
_STATE_BYTES_MAX: Final = 1_900_000
"""Beyond it a record of it would not fit Kafka's 2 MiB."""
_PORT_MAX: Final = 65_535
_REPLICAS_MAX: Final = 32_767
"""As many as Kafka's requests have room for."""
_NAME: Final = r"[a-z0-9][a-z0-9_-]{0,39}"
_NAME_TAKES: Final = "1 to 40 of a-z, 0-9, _ and -, beginning with a letter or digit"


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """Where Postgres is. The URLs carry passwords, so no repr shows them."""

    url: str = field(repr=False)
    migration_url: str = field(repr=False)
    """The owner's login, for `recibo migrate` and for `recibo replay`, which makes and moves tables."""
    pool_size_max: int = 4
    storage_is_durable: bool = False
    """The storage answers for what `fsync` and `full_page_writes` do; otherwise both must be on."""


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """Where Kafka is."""

    bootstrap: str
    topic_prefix: str = ""
    """Before every topic, group and transactional id."""
    replicas: int = 3
    """Brokers that each topic is on. All but one must have a record before it is acknowledged."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One registered endpoint, `POST /webhooks/<name>`."""

    name: str
    provider: str
    account: str
    """Two sources of one account share their roots."""
    checks: tuple[Check, ...]
    """All must pass; empty only where the file says `checks = "none"`."""
    headers_kept: frozenset[str] = HEADERS_ALWAYS_KEPT
    """Names, lower case, of the headers whose values are stored."""
    answers_probes: bool = False
    """Whether GET, HEAD and OPTIONS, by which panels test a URL, get an empty 200 instead of a 405."""


@dataclass(frozen=True, kw_only=True)
class IngressSettings:
    """Where the ingress listens, and how much it takes."""

    host: str = "127.0.0.1"
    port: int = 8080
    body_bytes_max: int = _BODY_BYTES_MAX
    body_timeout_s: float = 10.0
    """For a whole body to arrive, once its headers did."""
    keepalive_timeout_s: float = 620.0
    """For the next request on a connection to begin. Longer than what stands in front keeps it (600 s are
    usual there): whoever closes first loses no request to the other's closing."""
    client_timeout_s: float = 20.0
    """For a whole request head, from its first byte, and for taking an answer."""
    connections_max: int = 16_384
    """Open at once; fewer where the process may not have as many descriptors."""
    queue_rows_max: int = 10_000
    queue_bytes_max: int = 67_108_864
    """Of deliveries that wait; bodies that are still arriving may take as much again."""
    batch_rows_max: int = 1_000
    batch_bytes_max: int = 8_388_608
    append_timeout_s: float = 1.0
    """For one append; Postgres counts as away after it, and the spill takes the batch."""
    retry_after_s: int = 2
    drain_timeout_s: float = 8.0
    """For the requests under way at SIGTERM."""
    trusted_proxies: tuple[Network, ...] = ()
    """Peers whose X-Forwarded-For is believed."""


@dataclass(frozen=True, kw_only=True)
class RelaySettings:
    """How much a pass of the relay takes, and how long it waits between passes."""

    rows_max: int = 3_000
    bytes_max: int = 8_388_608
    gather_s: float = 0.05
    """Between the beginnings of two passes that are not full: what comes meanwhile shares a transaction."""
    poll_interval_s: float = 1.0
    """Between looks at the log when no NOTIFY came."""
    lock_poll_s: float = 1.0
    """Between a standby's tries to get the lock."""
    retry_after_s: float = 1.0
    """Between an error and the next try."""


@dataclass(frozen=True, kw_only=True)
class ProjectorSettings:
    """How much a batch of the projector takes, and how long it waits."""

    batch_rows_max: int = 1_000
    batch_bytes_max: int = 8_388_608
    batch_event_bytes_max: int = 8_388_608
    """Of the events that one batch publishes; a batch beyond it is halved."""
    poll_timeout_s: float = 0.5
    """For the first record of a batch."""
    gather_s: float = 0.005
    """After the first record, for those that the same transaction of the relay makes readable."""
    quiet_after_s: float = 3.0
    """Without records, before a partition compares itself with the relay's checkpoint."""
    retry_after_s: float = 1.0
    """Between an error and the next try."""


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """Where `/health` and `/metrics` of a process are; null port: nowhere."""

    host: str = "127.0.0.1"
    port: int | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of them."""

    log_name: str
    database: DatabaseSettings
    kafka: KafkaSettings
    sources: Mapping[str, Source]
    reading: Reading
    ingress: IngressSettings
    relay: RelaySettings
    projector: ProjectorSettings
    health: HealthSettings
    log_level: str = "info"
    """Of the log lines of `recibo serve`."""
    stalled_after_s: float = 30.0
    """For one step of a role's loop; one that takes longer is given up, and the role starts over."""


def config_path(environ: Mapping[str, str]) -> Path:
    """Where the file is: RECIBO_CONFIG, by default `recibo.toml` in the working directory."""
    return Path(environ.get("RECIBO_CONFIG") or "recibo.toml")


def load(environ: Mapping[str, str], config: Path) -> Settings:
    """Everything that a role needs, from the environment and the file `config`.

    Raises ConfigurationError with every fault of both, each naming its key and what it takes.
    """
    faults = Faults()
    environment = _Environment(environ, Secrets(environ, base=config.parent, faults=faults), faults)
    root = Declaration(_parse(config, faults), "", faults)
    settings = Settings(
        log_name=LOG_NAME,
        database=_database(environment, root.table("database")),
        kafka=_kafka(environment, root.table("kafka")),
        sources=_sources(root, environment.secrets),
        reading=_reading(root.table("fold"), environment.secrets),
        ingress=_ingress(environment, root.table("ingress")),
        relay=_numbers(RelaySettings(), root.table("relay")),
        projector=_numbers(ProjectorSettings(), root.table("projector")),
        health=HealthSettings(
            host=environment.text("RECIBO_HEALTH_HOST", HealthSettings.host),
            port=environment.port("RECIBO_HEALTH_PORT"),
        ),
        log_level=environment.matching(
            "RECIBO_LOG_LEVEL",
            Settings.log_level,
            r"(?i:debug|info|warning|error|critical)",
            "debug, info, warning, error or critical",
        ),
        stalled_after_s=root.seconds("stalled_after_s", Settings.stalled_after_s),
    )
    root.refuse_unknown()
    faults.raise_if_any()
    return settings


def _parse(config: Path, faults: Faults) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        faults.add(
            str(config), f"cannot be read ({error.strerror}): set RECIBO_CONFIG or copy recibo.example.toml"
        )
    except UnicodeDecodeError:
        faults.add(str(config), "is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        faults.add(str(config), f"is not TOML: {error}")
    return {}


class _Environment:
    """The environment variables, read one by one; faults name the variable, never its value."""

    def __init__(self, environ: Mapping[str, str], secrets: Secrets, faults: Faults) -> None:
        self._environ = environ
        self._faults = faults
        self.secrets = secrets

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name) or default

    def matching(self, name: str, default: str | None, pattern: str, takes: str) -> str:
        value = self._environ.get(name) or default
        if value is None or not re.fullmatch(pattern, value):
            self._faults.add(name, f"{'is not set: it ' if value is None else ''}takes {takes}")
            return ""
        return value

    def port(self, name: str) -> int | None:
        """A port, 0 for one that the system picks; null where the variable is not set."""
        value = self._environ.get(name)
        if not value:
            return None
        if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > _PORT_MAX:
            self._faults.add(name, f"takes a port, 0 to {_PORT_MAX}")
            return None
        return int(value)

    def database_url(self, name: str, default: str | None) -> str:
        url, path = self._environ.get(name), self._environ.get(f"{name}_FILE")
        if url and path:
            self._faults.add(name, f"is set, and so is {name}_FILE: keep one")
        if path:
            url = self.secrets.file(path, f"{name}_FILE")
            if url is None:
                return ""
        if not url:
            if default is None:
                self._faults.add(name, f"is not set: it (or {name}_FILE) takes postgresql://…")
            return default or ""
        if not re.match(r"postgres(ql)?://", url):
            self._faults.add(name, "takes postgresql://…")
        return url


def _database(environment: _Environment, table: Declaration) -> DatabaseSettings:
    url = environment.database_url("RECIBO_DATABASE_URL", None)
    migration_url = environment.database_url("RECIBO_MIGRATION_DATABASE_URL", url)
    pool_size_max = table.integer("pool_size_max", DatabaseSettings.pool_size_max, at_most=1_000)
    storage_is_durable = table.boolean("storage_is_durable", default=DatabaseSettings.storage_is_durable)
    table.refuse_unknown()
    return DatabaseSettings(
        url=url,
        migration_url=migration_url,
        pool_size_max=pool_size_max,
        storage_is_durable=storage_is_durable,
    )


def _kafka(environment: _Environment, table: Declaration) -> KafkaSettings:
    replicas = table.integer("replicas", KafkaSettings.replicas, at_most=_REPLICAS_MAX)
    table.refuse_unknown()
    return KafkaSettings(
        bootstrap=environment.matching(
            "RECIBO_KAFKA_BOOTSTRAP",
            None,
            r"[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*",
            "host:port, several by commas",
        ),
        topic_prefix=environment.matching(
            "RECIBO_TOPIC_PREFIX", "", r"[A-Za-z0-9._-]{0,64}", "at most 64 of A-Z, a-z, 0-9, ., _ and -"
        ),
        replicas=replicas,
    )


def _sources(root: Declaration, secrets: Secrets) -> Mapping[str, Source]:
    declared = list(root.tables("sources"))
    sources = {name: _source(name, table, secrets) for name, table in declared}
    # Of all sources: a sender that errs on the URL must not have its secret stored by another.
    read = frozenset().union(*(check.places for source in sources.values() for check in source.checks))
    for name, table in declared:
        for header in sorted(sources[name].headers_kept & (read | _HEADERS_NEVER_KEPT)):
            if header in HEADERS_ALWAYS_KEPT:
                table.fault(
                    "checks", f"a check reads {header}, whose value is always stored: use another header"
                )
            else:
                table.fault("headers_kept", f"{header} carries a secret or is read by a check: take it out")
        table.refuse_unknown()
    return sources


def _source(name: str, table: Declaration, secrets: Secrets) -> Source:
    if not re.fullmatch(_NAME, name):
        table.faults.add(table.where, f"a source's name takes {_NAME_TAKES}")
    if name == "operator":
        table.faults.add(table.where, "operator is the name of what is decided here: choose another")
    return Source(
        name=name,
        provider=table.choice("provider", None, PROVIDERS) or "",
        account=table.text("account", name, _NAME, _NAME_TAKES),
        checks=read_checks(table, secrets),
        headers_kept=HEADERS_ALWAYS_KEPT | table.headers("headers_kept"),
        answers_probes=table.boolean("answers_probes", default=False),
    )


def _reading(table: Declaration, secrets: Secrets) -> Reading:
    zone = table.text(
        "barte_zone", Reading().barte_zone, r"[A-Za-z0-9/_+-]{1,64}", "the IANA name of a time zone"
    )
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        table.fault("barte_zone", "takes the IANA name of a time zone, such as America/Sao_Paulo")
    payer_key = table.secret("payer_key", secrets)
    facts_max = table.integer("facts_max", Reading().facts_max, at_most=100_000)
    state_bytes_max = table.integer("state_bytes_max", Reading().state_bytes_max, at_most=_STATE_BYTES_MAX)
    table.refuse_unknown()
    return Reading(barte_zone=zone, payer_key=payer_key, facts_max=facts_max, state_bytes_max=state_bytes_max)


def _ingress(environment: _Environment, table: Declaration) -> IngressSettings:
    proxies = table.networks("trusted_proxies", required=False)
    body_bytes_max = table.integer("body_bytes_max", _BODY_BYTES_MAX, at_most=_BODY_BYTES_MAX)
    port = environment.port("RECIBO_HTTP_PORT")
    settings = _numbers(
        IngressSettings(
            host=environment.text("RECIBO_HTTP_HOST", IngressSettings.host),
            port=IngressSettings.port if port is None else port,
            body_bytes_max=body_bytes_max,
            trusted_proxies=proxies,
        ),
        table,
        apart=frozenset({"port", "body_bytes_max"}),
    )
    if settings.queue_bytes_max < 2 * settings.body_bytes_max:
        table.fault("queue_bytes_max", "takes at least twice body_bytes_max")
    return settings


_Stage = TypeVar("_Stage", IngressSettings, RelaySettings, ProjectorSettings)


def _numbers(defaults: _Stage, table: Declaration, apart: frozenset[str] = frozenset()) -> _Stage:
    """`defaults` with every limit and interval that `table` names; those in `apart` are read elsewhere."""
    changes: dict[str, Any] = {}
    for member in dataclasses.fields(defaults):
        default = getattr(defaults, member.name)
        if member.name in apart:
            continue
        if isinstance(default, float):
            changes[member.name] = table.seconds(member.name, default)
        elif isinstance(default, int):
            changes[member.name] = table.integer(member.name, default)
    table.refuse_unknown()
    return dataclasses.replace(defaults, **changes)
