"""The proxy passes what it is given, and does to it what a fault asks for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from service.localstack.ports import free_port
from tests.faults import wire
from tests.faults.wire import Asked, Wire

END_TXN = 26
PRODUCE = 0


def frame(api_key: int, number: int, rest: bytes = b"") -> bytes:
    body = api_key.to_bytes(2, "big") + bytes(2) + number.to_bytes(4, "big") + rest
    return len(body).to_bytes(4, "big") + body


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, asyncio.StreamReader, asyncio.StreamWriter, list[bytes]]]:
    """A client of a server that answers each frame with its number; and what that server got."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(head, "big"))
                got.append(body)
                writer.write((4).to_bytes(4, "big") + body[4:8])
        except (asyncio.IncompleteReadError, ConnectionError):
            await closed(writer)

    to = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", to)
    async with server, Wire(port=free_port(), to=to, dialect=wire.Kafka).listening() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        # The kernel takes a connection before the proxy knows of it: an answer shows that it does.
        writer.write(frame(PRODUCE, 0))
        await reader.readexactly(8)
        got.clear()
        yield proxy, reader, writer, got
        await closed(writer)


async def test_what_is_sent_arrives_and_is_answered() -> None:
    async with wired() as (_, reader, writer, got):
        writer.write(frame(PRODUCE, 7, bytes(100_000)))

        assert await reader.readexactly(8) == (4).to_bytes(4, "big") + (7).to_bytes(4, "big")
    assert len(got) == 1


async def test_a_cut_after_comes_once_the_server_has_the_request_and_before_its_answer() -> None:
    async with wired() as (proxy, reader, writer, got):
        cut = asyncio.create_task(proxy.cut("EndTxn", when="after", times=1))
        await asyncio.sleep(0)
        writer.write(frame(PRODUCE, 1))
        assert (await reader.readexactly(8))[-1] == 1
        writer.write(frame(END_TXN, 2))

        await cut
        assert await _rest(reader) == b""
    assert len(got) == 2


async def test_a_cut_before_keeps_the_request_from_the_server() -> None:
    async with wired() as (proxy, reader, writer, got):
        cut = asyncio.create_task(proxy.cut("EndTxn", when="before", times=1))
        await asyncio.sleep(0)
        writer.write(frame(END_TXN, 1))

        await cut
        assert await _rest(reader) == b""
    assert got == []


async def test_what_waited_while_the_wire_was_silent_arrives_afterwards() -> None:
    async with wired() as (proxy, reader, writer, got):
        with proxy.silent():
            writer.write(frame(PRODUCE, 1))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readexactly(8), 0.05)
            assert got == []

        assert (await reader.readexactly(8))[-1] == 1


async def test_a_wire_that_refuses_takes_connections_again_afterwards() -> None:
    async with wired() as (proxy, reader, _, _got):
        with proxy.refusing():
            assert await _rest(reader) == b""

        again, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(frame(PRODUCE, 1))
        assert (await again.readexactly(8))[-1] == 1
        await closed(writer)


@pytest.mark.parametrize("size", [1, 3, 7, 64])
def test_requests_are_named_however_the_stream_is_cut(size: int) -> None:
    stream = frame(PRODUCE, 1, bytes(50)) + frame(END_TXN, 2) + frame(99, 3)
    dialect = wire.Kafka()

    asked = [
        request for at in range(0, len(stream), size) for request in dialect.asked(stream[at : at + size])
    ]

    assert asked == [Asked("Produce", 1), Asked("EndTxn", 2), Asked("", 3)]


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
