"""A free port of the loopback interface."""

import random
import socket

# Below the range from which Linux takes the near end of outgoing connections, so that none can take a port
# in the seconds between its choice here and the start of the server that it is for.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port on which nothing listened a moment ago."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 20000 and 31999 on 127.0.0.1")
