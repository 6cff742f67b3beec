"""The demo's script, written by hand: what the providers send, in which order, and what must come of it.

Pure. Each chapter is about one root; its deliveries go out one by one, in the order written, so
positions and event ids are the same in every run. What is expected follows from docs/providers alone.
All data are fictitious.
"""

from collections.abc import Sequence
from typing import Final

from service.demo.chapters import Chapter
from service.demo.stories import admin, aprovei, barte, gen


def chapters() -> Sequence[Chapter]:
    """All of them, in the order of sending."""
    return (*barte.chapters(), *admin.chapters(), *gen.chapters(), *aprovei.chapters())


CURL_SOURCE: Final = "barte"
"""Where CURL_BODY goes."""

CURL_BODY: Final = (
    '{"uuid": "c0ffee00-0000-4000-8000-000000000001", "dateTime": "2025-11-03T10:15:42.12", '
    '"status": "PAID", "domain": "ORDER"}'
)
"""A delivery of Barte's to paste: an order nobody has sent yet."""
