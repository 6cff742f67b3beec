"""Free ports of the loopback interface."""

import fcntl
import functools
import itertools
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

# Below the range from which Linux takes the near end of outgoing connections, so that none can take a port
# in the seconds between its choice here and the start of the server that it is for.
_PORTS: Final = range(20_000, 32_000)

_NEXT: Final = itertools.cycle(random.sample(_PORTS, len(_PORTS)))
"""Each in its turn: one that was given out is not free because its server does not listen yet."""


def free_port() -> int:
    """A port on which nothing listened a moment ago, and that no process of this user was given lately.

    It is this process's until that ends, also while the server that it is for is down.
    """
    register = _register()
    for port in itertools.islice(_NEXT, len(_PORTS)):
        with socket.socket() as probe:
            try:
                fcntl.lockf(register, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 20000 and 31999 on 127.0.0.1")


@functools.cache
def _register() -> int:
    # Nothing is ever written to it: a lock on its nth byte is a claim to port n, and ends with the process.
    path = Path(tempfile.gettempdir(), f"recibo-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
