"""One run: a fault in the midst of load, recovery, quiet, and the checker's verdict.

A fault's name and a seed describe it. Whatever does not come about (the fault itself, recovery, a clean
end) fails it just as a violated statement does.
"""

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from service.kafka import topics
from service.runtime import EXIT_STOPPED
from tests.checker.check import check
from tests.checker.report import Report
from tests.faults.fault import Fault, NotHere
from tests.faults.scene import PAYER_KEY, Scene
from tests.faults.stage import Stage
from tests.servers import Kafka, fresh_topics, new_database

SHORT: Final = 0.25
"""Of a fault's duration, in the short choice."""

_AFTERWARDS: Final = 200
"""Receipts after the fault, for what comes back must work again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    fault: str
    detail: str
    seed: int
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    """All other violations."""
    recovered_s: float | None = None
    """From the end of the fault until all was quiet."""
    took_s: float = 0.0
    failure: str = ""
    """Why it failed, at length; empty where it did not."""
    not_here: str = ""
    """Why it could not run on this machine."""

    @property
    def ok(self) -> bool:
        return not self.failure and not self.not_here


Meddle = Callable[[Scene], Awaitable[None]]


async def _leave_it(_scene: Scene) -> None:
    """Nobody tampers with what the checker sees."""


async def run(
    fault: Fault, seed: int, stage: Stage, *, brevity: float = 1.0, before_the_check: Meddle = _leave_it
) -> Outcome:
    """The outcome of one run; its folder below the stage's stays where it failed."""
    began = time.monotonic()
    folder = stage.folder / f"{fault.name.replace('/', '-').replace(':', '-')}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    play = _Play(fault, seed)
    try:
        await play.perform(stage, folder, brevity, before_the_check)
    except NotHere as reason:
        return Outcome(fault=fault.name, detail=fault.detail, seed=seed, not_here=str(reason))
    except Exception as error:  # noqa: BLE001  Whatever it was, the run failed, and the next one runs.
        play.failure = f"{_words(error)}\nsee {folder}"
    else:
        shutil.rmtree(folder)
    return play.outcome(time.monotonic() - began)


class _Play:
    def __init__(self, fault: Fault, seed: int) -> None:
        self._fault = fault
        self._seed = seed
        self._recovered_s: float | None = None
        self._report = Report()
        self.failure = ""

    async def perform(self, stage: Stage, folder: Path, brevity: float, meddle: Meddle) -> None:
        await stage.stand()
        async with _surroundings(stage) as (database_url, kafka):
            scene = Scene(
                stage,
                database_url=database_url,
                kafka=kafka,
                folder=folder,
                random=Random(f"{self._fault.name} {self._seed}"),
                brevity=brevity,
            )
            async with self._fault.setting(scene):
                await self._live(scene)
                await meddle(scene)
                await self._judge(scene)

    async def _live(self, scene: Scene) -> None:
        """Everything up to quiet."""
        try:
            for role in scene.roles.values():
                await role.start()
            for role in scene.roles.values():
                await role.healthy()
            # Healthy is not yet at work: a fault that strikes before that strikes nothing.
            await scene.roles["projector"].said("projector.taken_over")
            await scene.load.begin()
            await scene.load.answered(scene.random.randint(*self._fault.begins_after))
            await self._fault.strike(scene)
            ended = time.monotonic()
            await scene.load.answered(_AFTERWARDS)
            await scene.load.end()
            # It answers what is under way, and what it was in doubt about comes to an end.
            codes = {"ingress": await scene.roles["ingress"].stop()}
            await scene.settled()
            self._recovered_s = time.monotonic() - ended
            for name in ("drain", "projector", "relay"):
                codes[name] = await scene.roles[name].stop()
            assert set(codes.values()) == {EXIT_STOPPED}, f"a role did not stop cleanly: {codes}"
        finally:
            await scene.load.kill()
            for role in (*scene.roles.values(), *scene.others):
                await role.end()

    async def _judge(self, scene: Scene) -> None:
        self._report = await check(
            database_url=scene.database_url,
            bootstrap=scene.kafka.bootstrap,
            prefix=scene.kafka.prefix,
            log=scene.settings.log_name,
            ledgers=scene.load.ledgers,
            logs=[scene.roles["ingress"].log],
            payer_key=PAYER_KEY.encode(),
            parks=scene.parks,
        )
        assert self._report.ok, str(self._report)

    def outcome(self, took_s: float) -> Outcome:
        report = self._report
        return Outcome(
            fault=self._fault.name,
            detail=self._fault.detail,
            seed=self._seed,
            acknowledged=report.acknowledged,
            lost=report.lost,
            doubled=report.doubled,
            wrong=report.counts.total() - report.lost - report.doubled,
            recovered_s=self._recovered_s,
            took_s=took_s,
            failure=self.failure,
        )


@asynccontextmanager
async def _surroundings(stage: Stage) -> AsyncIterator[tuple[str, Kafka]]:
    """A database and topics of the run's own."""
    kafka = await fresh_topics(stage.servers.bootstrap)
    database_url = await new_database(stage.servers.database_url)
    try:
        yield database_url, kafka
    finally:
        await stage.stand()
        await _remove(stage, database_url, kafka)


async def _remove(stage: Stage, database_url: str, kafka: Kafka) -> None:
    owner = await asyncpg.connect(stage.servers.database_url)
    await owner.execute(f'drop database if exists "{database_url.rpartition("/")[2]}" with (force)')
    await owner.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([kafka.prefix + topic.name for topic in topics.TOPICS])
    await admin.close()


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_words, error.exceptions))
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
