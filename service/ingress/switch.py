"""Whether deliveries go to the log or past it, as appends and probes fail and succeed. Pure.

    ok      appends go to the log; one that fails leads to `away`
    away    nothing goes to the log; a probe that succeeds leads to `trial`
    trial   the next append goes to the log and decides: `ok`, or `away` with a longer time to the next
            probe; while no delivery comes, the probe's word stands

So a log that answers probes and takes no append, its disk being full, costs a try now and then, and the
operator hears of one outage, not of hundreds.
"""

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal

PROBE_S: Final = 0.25
PROBE_S_MAX: Final = 1.5
"""A log that is back is used again within two seconds, whatever was before."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Where it stands; each method returns where it stands next."""

    mode: Literal["ok", "away", "trial"] = "ok"
    probe_after_s: float = PROBE_S
    """The time to the next probe, or to the end of a trial that nothing decided."""

    @property
    def takes_log(self) -> bool:
        """Whether the next batch goes to the log."""
        return self.mode != "away"

    def append_succeeded(self) -> "Switch":
        """The log took a batch."""
        return self if self.mode == "ok" else Switch()

    def append_failed(self) -> "Switch":
        """The log did not take a batch."""
        if self.mode == "trial":
            return Switch("away", min(2 * self.probe_after_s, PROBE_S_MAX))
        return dataclasses.replace(self, mode="away")

    def probe_succeeded(self) -> "Switch":
        """The log answered a probe."""
        return dataclasses.replace(self, mode="trial") if self.mode == "away" else self

    def nothing_came(self) -> "Switch":
        """No delivery decided a trial."""
        return Switch() if self.mode == "trial" else self
