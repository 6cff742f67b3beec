"""What a rebuild is to give: of which log, by which fold, as of when, into which schema."""

from typing import Final, Literal

import msgspec

from projections.facts import Reading
from projections.fold import fold_version

SHADOW: Final = "recibo_shadow"
"""Where the states that may replace the live ones are built."""

PREVIOUS: Final = "recibo_previous"
"""Where a swap leaves those that were live."""

Purpose = Literal["rebuild", "verify", "as_of"]


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """One rebuild; a killed one is resumed by a run with an equal goal."""

    purpose: Purpose
    schema: str
    log: str
    reading: Reading
    position: int | None = None
    """As of what the log held up to here; null: up to where the live states are folded."""
    of_now: bool = False
    """Whether nobody asked for `position`: the log ended there when this was begun."""
    effective_at: int | None = None
    """As of what had happened by then, nanoseconds since the epoch; null: all that is known."""
    state_lost: bool = False
    """Whether there is no live state to follow: then the whole log counts."""

    @property
    def fold_version(self) -> str:
        return fold_version(self.reading)
