"""The optional parts: what they are for, and one clear line where one is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from service.errors import PermanentError


@contextmanager
def extra(name: Literal["analysts", "spark"]) -> Iterator[None]:
    """Import what needs the extra `name` within this. Raises PermanentError where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PermanentError(
            f"this needs {error.name}, which is not installed: pip install 'recibo[{name}]'"
        ) from None
