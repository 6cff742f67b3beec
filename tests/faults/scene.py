"""One run's world: the roles, the load, the servers, and what chance decides."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

from service import settings, status
from service.settings import Settings
from tests.faults.load import Load
from tests.faults.stage import Stage
from tests.faults.supervision import PATIENCE_S, Supervised
from tests.servers import Kafka, eventually
from tests.systems import PATIENCE

ROLES: Final = ("ingress", "relay", "projector", "drain")
PAYER_KEY: Final = "the payer key of the fault suite"

TOKEN: Final = "a-token-of-the-fault-suite"
_SECRETS: Final = {
    "FAULTS_TOKEN": TOKEN,
    "FAULTS_KEY": "a signing key of the fault suite",
    "FAULTS_PAYER_KEY": PAYER_KEY,
}
_CONFIG: Final = f"""
[sources.barte]
provider = "barte"
checks = [{{ kind = "url_token", secrets = ["env:FAULTS_TOKEN"] }}]
[sources.admin]
provider = "admin"
checks = [{{ kind = "hmac", header = "X-Signature", secrets = ["env:FAULTS_KEY"] }}]
[sources.gen]
provider = "gen"
checks = [{{ kind = "authorization", secrets = ["env:FAULTS_TOKEN"] }}]
[sources.aprovei]
provider = "aprovei"
checks = [{{ kind = "url_token", secrets = ["env:FAULTS_TOKEN"] }}]
[fold]
payer_key = "env:FAULTS_PAYER_KEY"
[kafka]
replicas = 1
{PATIENCE}"""


class Scene:
    """What a fault works on."""

    def __init__(
        self, stage: Stage, *, database_url: str, kafka: Kafka, folder: Path, random: Random, brevity: float
    ) -> None:
        self.stage = stage
        self.servers = stage.servers
        self.database_url = database_url
        self.kafka = kafka
        self.folder = folder
        self.random = random
        self._brevity = brevity
        self.config = config = folder / "recibo.toml"
        config.write_text(_CONFIG, encoding="utf-8")
        common = {
            **_SECRETS,
            "RECIBO_DATABASE_URL": database_url,
            "RECIBO_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "RECIBO_TOPIC_PREFIX": kafka.prefix,
            "RECIBO_CONFIG": str(config),
        }
        self.environments = {kind: dict(common) for kind in ROLES}
        """What the roles of each kind are started with: a fault's setting may change it."""
        self.settings: Settings = settings.load(common, config)
        self.roles = {kind: self._role(kind, kind) for kind in ROLES}
        self.others: list[Supervised] = []
        self.parks: set[str] = set()
        """Roots that the fault leaves parked, and nobody else may be."""
        self.load = Load(
            url=self.roles["ingress"].url, seed=random.randrange(2**31), folder=folder, environment=common
        )

    async def lasting(self, seconds: float) -> None:
        """Let a fault last so long; a short run has a part of it."""
        await asyncio.sleep(max(1.0, seconds * self._brevity))

    @asynccontextmanager
    async def another(self, kind: str) -> AsyncIterator[Supervised]:
        """A second role of a kind, healthy; killed in the end."""
        role = self._role(kind, f"{kind}-{len(self.others) + 2}")
        role.disarm()
        self.others.append(role)
        await role.start()
        try:
            await role.healthy()
            yield role
        finally:
            await role.hold()

    async def command(self, *words: str) -> str:
        """Run `recibo` with `words`; it must succeed. What it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *words),
            env=self.environments["drain"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, (output + errors).decode()
        return output.decode()

    async def settled(self) -> None:
        """Return once all that was received is in the log, published, folded and told."""

        async def nothing_is_left() -> bool:
            for role in (*self.roles.values(), *self.others):
                assert not role.halted, f"{role.name} waits for a human: {role.last_words()}"
            return (await status.ask(self.settings)).settled

        await eventually(nothing_is_left, what="all is quiet", timeout_s=2 * PATIENCE_S)

    def _role(self, kind: str, name: str) -> Supervised:
        return Supervised(kind, name=name, folder=self.folder, environment=self.environments[kind])
