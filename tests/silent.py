"""A process that opens connections and says nothing over them, so that its descriptors are its own.

`python -m tests.silent PORT COUNT [PART]`. Prints `open` once all are open, having sent PART, half a head
say, over each; ends, and closes them, at the end of its input.
"""

import asyncio
import resource
import sys


async def hold(port: int, count: int, part: bytes) -> None:
    """Open them, and hold them until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most >= count + 100, f"{count} connections need as many descriptors; the hard limit here is {most}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, most))
    held = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(part)
        held.append(writer)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for writer in held:
        writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(hold(int(sys.argv[1]), int(sys.argv[2]), "".join(sys.argv[3:]).encode()))
