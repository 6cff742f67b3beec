"""All roles at once as processes of their own, on a test's own database and topics."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from service import settings, status
from service.settings import Settings
from tests.roles import NO_SPILL, Process, role
from tests.servers import Kafka, eventually

PATIENCE = """
[relay]
poll_interval_s = 0.1
[projector]
poll_timeout_s = 0.1
quiet_after_s = 0.5
"""

CONFIG = (
    "".join(
        f'[sources.{provider}]\nprovider = "{provider}"\naccount = "shop"\nchecks = "none"\n'
        for provider in ("barte", "admin", "gen", "aprovei")
    )
    + PATIENCE
    + NO_SPILL
)
"""A source for each provider, one account, and anybody may post."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Ingress, relay and projector, running."""

    url: str
    settings: Settings
    processes: Mapping[str, Process]

    async def post(self, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an answer to a POST."""
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as http,
            http.post(path, data=io.BytesIO(body)) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def settle(self) -> None:
        """Return once all that was received is published, folded and told."""

        async def settled() -> bool:
            return (await status.ask(self.settings)).settled

        await eventually(settled, what="everything is published, folded and told", timeout_s=60)

    def log_lines(self) -> str:
        """What the roles have said so far."""
        return "".join(process.log.read_text() for process in self.processes.values())


@asynccontextmanager
async def system(
    database_url: str, kafka: Kafka, folder: Path, *, config: str = CONFIG
) -> AsyncIterator[System]:
    """The three roles, healthy; ended with the context."""
    async with AsyncExitStack() as stack:
        processes = {
            name: await stack.enter_async_context(role(name, database_url, kafka, folder, config=config))
            for name in ("ingress", "relay", "projector")
        }
        environment = {
            "RECIBO_DATABASE_URL": database_url,
            "RECIBO_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "RECIBO_TOPIC_PREFIX": kafka.prefix,
        }
        yield System(
            url=f"http://127.0.0.1:{processes['ingress'].port}",
            settings=settings.load(environment, folder / "recibo.toml"),
            processes=processes,
        )
