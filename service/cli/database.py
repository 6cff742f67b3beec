"""`recibo migrate` and `recibo topics`: make what the roles stand on."""

import asyncio

import typer

from service import migrations
from service.cli import settings
from service.kafka import administration


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


def topics() -> None:
    """Create the topics that are missing, and check the partitions of all. Safe to repeat."""
    kafka = settings.load().kafka
    created = asyncio.run(administration.create(kafka.bootstrap, kafka.topic_prefix))
    typer.echo("\n".join(f"created {name}" for name in created) or "all topics are there")
