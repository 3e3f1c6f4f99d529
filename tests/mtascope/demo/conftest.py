"""What the demo's tests share: a client as a careful MTA would be, and a sink that counts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiosmtplib
import pytest


@pytest.fixture(scope="session")
def trusting() -> ssl.SSLContext:
    """Opportunistic TLS: encrypt, but believe any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def _session(port: int) -> AsyncIterator[aiosmtplib.SMTP]:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=5)
    await client.connect()
    try:
        yield client
    finally:
        client.close()


async def _offer(
    client: aiosmtplib.SMTP, sender: str, recipient: str, content: bytes = b"Subject: x\r\n\r\nhi\r\n"
) -> str:
    """Send one mail; its last reply as text."""
    if not client.is_connected:  # after a 421
        await client.connect()
    try:
        await client.mail(sender)
        await client.rcpt(recipient)
        code, words = await client.data(content)
    except aiosmtplib.SMTPResponseException as error:
        if client.is_connected:
            await client.rset()
        return f"{error.code} {error.message}"
    return f"{code} {words}"


@pytest.fixture
def session() -> Callable[[int], AbstractAsyncContextManager[aiosmtplib.SMTP]]:
    """An SMTP session with the server on a port."""
    return _session


@pytest.fixture
def offer() -> Callable[..., Awaitable[str]]:
    """Sends one mail over a session; gives its last reply as text."""
    return _offer


class Sink(asyncio.Protocol):
    """Accepts every mail, at once, and can be told to die in the middle of one."""

    def __init__(self, mails: list[bytes], dies: Callable[[], bool]) -> None:
        self._mails, self._dies = mails, dies
        self._buffer, self._in_data = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := b"\r\n.\r\n" if self._in_data else b"\r\n") in self._buffer:
            unit, _, self._buffer = self._buffer.partition(end)
            self._answer(unit)

    def _answer(self, unit: bytes) -> None:
        if self._in_data:
            self._mails.append(unit)
            if self._dies():
                self._transport.abort()
                return
        self._in_data = not self._in_data and unit.upper() == b"DATA"
        self._transport.write(b"354 go on\r\n" if self._in_data else b"250 ok\r\n")


@asynccontextmanager
async def _sink(mails: list[bytes], dies: Callable[[], bool] = lambda: False, port: int = 0) -> AsyncIterator[int]:
    """A sink that listens; its port."""
    open_ones: list[Sink] = []

    def connect() -> Sink:
        open_ones.append(Sink(mails, dies))
        return open_ones[-1]

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in open_ones:
            each._transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
def sink() -> Callable[..., AbstractAsyncContextManager[int]]:
    """A server that takes every mail and puts it into the given list."""
    return _sink
