"""The settings as a command gets them."""

import os

from service import settings
from service.settings import Settings


def load() -> Settings:
    """From this process's environment and the file that it names. Raises ConfigurationError."""
    return settings.load(os.environ, settings.config_path(os.environ))
