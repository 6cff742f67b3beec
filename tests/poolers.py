"""Something between a role and Postgres that does to the protocol what poolers do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

Rewrite = Callable[[bytes], bytes]
"""What a chunk is passed on as."""


@asynccontextmanager
async def between(
    database_url: str, *, up: Rewrite = lambda chunk: chunk, down: Rewrite = lambda chunk: chunk
) -> AsyncIterator[str]:
    """The URL of a proxy before `database_url` that rewrites what passes."""
    there = urlsplit(database_url)
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(there.hostname, there.port)
        pumps = {
            asyncio.create_task(_pump(reader, server_writer, up)),
            asyncio.create_task(_pump(server_reader, writer, down)),
        }
        connections.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, server_writer):
            end.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield urlunsplit(there._replace(netloc=f"{there.username}@127.0.0.1:{port}", query="sslmode=disable"))
    finally:
        server.close()
        for pump in connections:
            pump.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rewrite: Rewrite) -> None:
    while chunk := await reader.read(65_536):
        writer.write(rewrite(chunk))
        await writer.drain()


def keeps_its_own_keys(chunk: bytes) -> bytes:
    """The process that a pooler names at login is none of Postgres's."""
    mark = b"K\x00\x00\x00\x0c"
    before, found, after = chunk.partition(mark)
    return before + mark + b"\x00\x00\x00\x01" + after[4:] if found else chunk


def forgets(setting: str) -> Rewrite:
    """Of what comes with the login this setting is dropped, as with `ignore_startup_parameters`."""

    def rewrite(chunk: bytes) -> bytes:
        name = b"\x00" + setting.encode() + b"\x00"
        if chunk[4:8] != b"\x00\x03\x00\x00" or name not in chunk:
            return chunk
        before, _, after = chunk.partition(name)
        body = before[4:] + b"\x00" + after.partition(b"\x00")[2]
        return (len(body) + 4).to_bytes(4, "big") + body

    return rewrite


def refuses_settings(chunk: bytes) -> bytes:
    """The login is refused for a setting that comes with it."""
    fields = b"SFATAL\x00VFATAL\x00C08P01\x00Munsupported startup parameter: role\x00\x00"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields if chunk.startswith(b"R") else chunk
