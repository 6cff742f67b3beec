"""Read the root of a delivery, best effort: whatever its body is, nothing is raised.

A delivery without a root is stored all the same and quarantined; the projector reads it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from projections.facts import Unreadable
from projections.providers.documents import parsed
from service import telemetry
from service.settings import Source

log = structlog.get_logger()

RootOf = Callable[[str, str, object, str | None], str]
"""The root by provider, account, parsed body and the URL's marker; raises Unreadable."""

ADAPTER_FAILED: Final = "the adapter failed on it"


@dataclass(frozen=True, slots=True)
class Unrooted:
    """A delivery whose root cannot be read."""

    reason: str


def read_root(source: Source, body: bytes, kind: str | None, root_of: RootOf) -> str | Unrooted:
    """The root, or the reason why there is none."""
    try:
        return root_of(source.provider, source.account, parsed(body), kind)
    except Unreadable as unreadable:
        return Unrooted(unreadable.reason)
    except Exception as error:
        # A bug of the adapter must not cost the delivery.
        telemetry.INGRESS_ROOT_FAILURES.labels(source=source.name).inc()
        log.error("ingress.root_failed", source=source.name, exc_info=error)
        return Unrooted(ADAPTER_FAILED)
