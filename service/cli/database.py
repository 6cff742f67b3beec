"""`recibo migrate` and `recibo topics`: make what the roles stand on."""

import asyncio
from typing import Annotated

import typer

from service import migrations
from service.cli import settings
from service.errors import InvariantError
from service.kafka import administration
from service.settings import KafkaSettings


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command()(migrate)
    app.command()(topics)


def migrate() -> None:
    """Bring the database to the newest schema, as its owner (RECIBO_MIGRATION_DATABASE_URL).

    Safe to repeat, and to run while older roles still do.
    """
    applied = asyncio.run(migrations.migrate(settings.load().database.migration_url))
    typer.echo("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


def topics(
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Alter the settings that differ.")] = False,
) -> None:
    """Create the topics that are missing, and hold every setting of all against what the promises rest on.

    A line says what differs, and `--apply` alters it; what nobody rests on stays as it was set. Exits with 3
    while something differs. Safe to repeat.
    """
    asyncio.run(_topics(settings.load().kafka, apply=apply))


async def _topics(kafka: KafkaSettings, *, apply: bool) -> None:
    where = (kafka.bootstrap, kafka.topic_prefix)
    created = await administration.create(*where, replicas=kafka.replicas)
    for name in created:
        typer.echo(f"created {name}")
    altered = await administration.alter(*where, replicas=kafka.replicas) if apply else ()
    for difference in altered:
        typer.echo(f"altered {difference.topic}: {difference.setting} = {difference.wanted}")
    left = await administration.compare(*where, replicas=kafka.replicas)
    for difference in left:
        typer.echo(str(difference))
    if any(difference.can_be_altered for difference in left):
        raise InvariantError("promises rest on settings that differ: `recibo topics --apply` alters them")
    if left:
        raise InvariantError("promises rest on what differs, and no command of ours alters it: see above")
    if not created and not altered:
        typer.echo("all topics are there")
