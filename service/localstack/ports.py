"""Free ports of the loopback interface."""

import itertools
import random
import socket
from typing import Final

# Below the range from which Linux takes the near end of outgoing connections, so that none can take a port
# in the seconds between its choice here and the start of the server that it is for.
_PORTS: Final = range(20_000, 32_000)

_NEXT: Final = itertools.cycle(random.sample(_PORTS, len(_PORTS)))
"""Each in its turn: one that was given out is not free because its server does not listen yet."""


def free_port() -> int:
    """A port on which nothing listened a moment ago, and that this process gave nobody lately."""
    for port in itertools.islice(_NEXT, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 20000 and 31999 on 127.0.0.1")
