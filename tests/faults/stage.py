"""Servers of the suite's own, which a fault may take away, and the wires before them.

Kafka has a second listener that it advertises at its wire's port, so a client that comes by the wire stays
on it. Several stages can stand beside one another.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from service.localstack import LOCAL
from service.localstack.kafka import Kafka
from service.localstack.ports import free_port
from service.localstack.postgres import Postgres
from tests.faults import wire
from tests.faults.wire import Wire
from tests.outages import Servers

_SECURITY: Final = "listener.security.protocol.map"


class WiredKafka(Kafka):
    """A broker that can be reached past its wire and through it."""

    def __init__(self, folder: Path, local: Path, on_progress: Callable[[str], None]) -> None:
        super().__init__(folder, local, on_progress)
        self.wired_port = free_port()
        self.behind_port = free_port()

    def _all_settings(self) -> dict[str, str]:
        settings = super()._all_settings()
        behind = f"WIRED://127.0.0.1:{self.behind_port}"
        return settings | {
            "listeners": f"{settings['listeners']},{behind}",
            "advertised.listeners": f"CLIENTS://{self._address},WIRED://127.0.0.1:{self.wired_port}",
            _SECURITY: f"{settings[_SECURITY]},WIRED:PLAINTEXT",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where runs take place, one after another."""

    folder: Path
    servers: Servers
    kafka_wire: Wire
    postgres_wire: Wire

    @property
    def wired_bootstrap(self) -> str:
        """Kafka's address through its wire."""
        return f"127.0.0.1:{self.kafka_wire.port}"

    def wired(self, database_url: str) -> str:
        """`database_url` through Postgres's wire."""
        parts = urlsplit(database_url)
        return urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{self.postgres_wire.port}"))

    async def stand(self) -> None:
        """Return once both servers answer, whatever the run before left behind."""
        await self.servers.give_back_postgres()
        await self.servers.give_back_kafka()

    @asynccontextmanager
    async def wires(self) -> AsyncIterator[None]:
        """Both wires, listening."""
        async with self.kafka_wire.listening(), self.postgres_wire.listening():
            yield


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage in a folder of its own. Enter it from a thread that outlives it and runs no event loop."""
    folder.mkdir(parents=True, exist_ok=True)
    postgres, kafka = Postgres(folder), WiredKafka(folder, LOCAL, lambda _: None)
    try:
        for server in (postgres, kafka):
            server.prepare()
        for server in (postgres, kafka):
            server.launch()
        servers = Servers(
            postgres=postgres, kafka=kafka, database_url=postgres.wait(), bootstrap=kafka.wait()
        )
        port = urlsplit(servers.database_url).port
        assert port is not None
        yield Stage(
            folder=folder,
            servers=servers,
            kafka_wire=Wire(port=kafka.wired_port, to=kafka.behind_port, dialect=wire.Kafka),
            postgres_wire=Wire(port=free_port(), to=port, dialect=wire.Postgres),
        )
    finally:
        for server in (postgres, kafka):
            server.stop()
