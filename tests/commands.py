"""What the command `recibo` finds in its environment, for tests that start it."""

import os
from pathlib import Path


def environment(database_url: str, folder: Path, **more: str) -> dict[str, str]:
    """All that it needs on that database, without Kafka, and `more`; its settings are put into `folder`."""
    config = folder / "recibo.toml"
    config.write_text("[sources.shop]\nprovider = 'admin'\nchecks = 'none'\n")
    return os.environ | {
        "RECIBO_DATABASE_URL": database_url,
        "RECIBO_KAFKA_BOOTSTRAP": "localhost:9",
        "RECIBO_CONFIG": str(config),
        **more,
    }
