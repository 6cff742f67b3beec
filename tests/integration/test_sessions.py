"""Every session that a command or a role opens has limits, so a client that freezes holds nothing for long.

A trigger of the server's, at each login, writes down what the session has set.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import orjson
import pytest
import typer

from service.cli import application
from service.postgres import connect, connect_as_owner
from tests.deliveries import admin_payment, new_delivery
from tests.replays import append, fold_live
from tests.roles import CONFIG
from tests.servers import Kafka, eventually

GONE_S_MAX: Final = 60
ROOT: Final = "shop:order:pay_1"

COMMANDS: Final[Sequence[tuple[str, ...]]] = (
    ("migrate",),
    ("status",),
    ("quarantine", "list"),
    ("quarantine", "retry"),
    ("parked", "list"),
    ("parked", "retry"),
    ("show", ROOT),
    ("export", "exported"),
    ("replay", "verify"),
    ("replay", "rebuild", "--compare", "--swap", "--processes=2", "--strip-rows=1"),
    ("replay", "drop-previous"),
    ("replay", "rebuild"),
    ("replay", "drop-shadow"),
    ("replay", "as-of", "--into=then"),
    ("dispute", ROOT, "lost"),
)
"""In an order in which each finds what it needs."""
WITHOUT_POSTGRES: Final = {"topics", "simulate", "replay parquet", "replay spark"}
OF_ITS_OWN_SERVERS: Final = {"demo"}

_NOTE_SESSIONS: Final = """
create table session (application text not null, settings jsonb not null);
create function note_session() returns event_trigger language plpgsql security definer as $$
begin
    insert into public.session
    select current_setting('application_name'), jsonb_object_agg(name, setting)
    from pg_settings
    where name ~ '^(tcp|application|idle|transaction|statement)';
end
$$;
create event trigger note_session on login execute function note_session();
"""


@pytest.mark.timeout(600)
async def test_every_session_of_every_command_and_role_ends_with_its_client(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    await append(database_url, [admin_payment("pay_1", "CHARGEBACK"), new_delivery(b"?")])
    await fold_live(database_url)
    observer = await asyncpg.connect(database_url)
    await observer.execute(_NOTE_SESSIONS)
    leaves, tried = _leaves(), set[str]()

    for words in COMMANDS:
        errors = await _run(database_url, kafka, tmp_path, *words)
        assert not errors, (words, errors)
        tried.add(words[0] if words[0] in leaves else " ".join(words[:2]))
    await _serve(database_url, kafka, tmp_path, observer)
    tried.add("serve")

    sessions = [
        (row["application"], orjson.loads(row["settings"]))
        for row in await observer.fetch("select application, settings from session")
    ]
    await observer.close()
    assert tried | WITHOUT_POSTGRES | OF_ITS_OWN_SERVERS == leaves
    assert [(name, settings) for name, settings in sessions if not _is_limited(settings)] == []
    # It holds the lock that other migrations wait for, also between two transactions.
    migrating = [
        int(settings["idle_session_timeout"]) for name, settings in sessions if name == "recibo-migrate"
    ]
    assert 0 < max(migrating) <= GONE_S_MAX * 1000
    assert {name for name, _ in sessions} >= {"recibo-migrate", "recibo-replay", "recibo-retry"}


def _leaves() -> set[str]:
    """All commands, those of groups with the group's name."""
    top = typer.main.get_command(application())
    assert isinstance(top, typer.core.TyperGroup)
    leaves = set()
    for name, command in top.commands.items():
        below = command.commands if isinstance(command, typer.core.TyperGroup) else {"": None}
        leaves |= {f"{name} {each}".strip() for each in below}
    return leaves


def _is_limited(settings: dict[str, str]) -> bool:
    def seconds(name: str) -> float:
        return int(settings[name]) / (1 if name.startswith("tcp_keepalives") else 1000)

    silence_s = seconds("tcp_keepalives_idle") + seconds("tcp_keepalives_interval") * int(
        settings["tcp_keepalives_count"]
    )
    limits = (seconds("idle_in_transaction_session_timeout"), silence_s, seconds("tcp_user_timeout"))
    return all(0 < limit <= GONE_S_MAX for limit in limits)


async def _run(database_url: str, kafka: Kafka, folder: Path, *words: str) -> str:
    """Run a command; why it failed, empty if it did not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", *words),
        env=_environment(database_url, kafka, folder),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return (output + errors).decode() if process.returncode else ""


async def _serve(
    database_url: str, kafka: Kafka, folder: Path, observer: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Run all roles until each of their sessions was seen."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "serve", "ingress", "relay", "projector", "drain"),
        env=_environment(database_url, kafka, folder),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    wanted = ("recibo-drain", "recibo-partitions", "recibo-projector", "recibo-relay%")

    async def seen() -> bool:
        assert process.returncode is None
        found: bool = await observer.fetchval(
            "select bool_and(exists (select from session where application like w))"
            " from unnest($1::text[]) w",
            list(wanted),
        )
        return found

    try:
        await eventually(seen, what="every role has a session", timeout_s=120)
    finally:
        process.kill()
        await process.wait()


def _environment(database_url: str, kafka: Kafka, folder: Path) -> dict[str, str]:
    config = folder / "recibo.toml"
    config.write_text(CONFIG)
    return os.environ | {
        "RECIBO_DATABASE_URL": database_url,
        "RECIBO_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "RECIBO_TOPIC_PREFIX": kafka.prefix,
        "RECIBO_CONFIG": str(config),
        "RECIBO_HTTP_PORT": "0",
        "TMPDIR": str(folder),
    }


@pytest.mark.parametrize("who", [connect, connect_as_owner])
async def test_a_session_whose_client_takes_no_answer_any_more_ends(
    database_url: str, who: Callable[..., Awaitable["asyncpg.Connection[asyncpg.Record]"]]
) -> None:
    frozen = await who(database_url, application="frozen")
    observer = await asyncpg.connect(database_url)
    await frozen.execute("set tcp_user_timeout = '1s'")
    pid = frozen.get_server_pid()
    # As its kernel sees a client that is frozen: the window closes, keepalives are answered.
    frozen._transport.pause_reading()  # type: ignore[attr-defined]
    asking = asyncio.create_task(frozen.execute("select repeat('x', 1000000) from generate_series(1, 100)"))

    async def ended() -> bool:
        return not await observer.fetchval("select exists (select from pg_stat_activity where pid = $1)", pid)

    await eventually(ended, what="the session ends", timeout_s=60)
    frozen.terminate()
    await asyncio.wait({asking})
    assert asking.exception() is not None
    await observer.close()


async def test_an_owners_statements_take_as_long_as_they_need(database_url: str) -> None:
    observer = await asyncpg.connect(database_url)
    name, role = database_url.rpartition("/")[2], await observer.fetchval("select current_user")
    for limit in ("statement_timeout", "transaction_timeout", "idle_session_timeout"):
        await observer.execute(f"alter role {role} in database {name} set {limit} = '50ms'")

    owner = await connect_as_owner(database_url, application="test")
    await owner.execute("select pg_sleep(0.1)")

    assert await owner.fetchval("select 1") == 1
    owner.terminate()
    await observer.close()
