"""A next hop that takes mail over STARTTLS, counts it and ends when it has enough: `smtp-sink` for encrypted mail.

Run: .venv/bin/python bench/tls_sink.py PORT MESSAGES CERTIFICATE_AND_KEY.pem

It speaks just enough SMTP for the MTAs of the benchmark, pipelining included, and offers STARTTLS once. Mail that comes
in clear is refused, so that nobody is quick by not encrypting.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

import uvloop

_HELLO = b"250-tls-sink\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n"


class Sink(asyncio.Protocol):
    """One session. `left` counts down over all of them."""

    left: int
    context: ssl.SSLContext
    done: asyncio.Future[None]

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._in_data = self._encrypted = False
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A session begins; over TLS its first words may have come before."""
        self._transport = transport
        self._encrypted = transport.get_extra_info("ssl_object") is not None
        if not self._encrypted:
            transport.write(b"220 tls-sink\r\n")
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """Answer all that is whole."""
        self._buffer += data
        if self._transport is None:
            return
        answers = bytearray()
        while (answer := self._next()) is not None:
            answers += answer
        self._transport.write(bytes(answers))

    def _next(self) -> bytes | None:
        if self._in_data:
            end = self._buffer.find(b"\r\n.\r\n")
            if end < 0:
                return None
            del self._buffer[: end + 5]
            self._in_data = False
            return self._counted()
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return self._answer(line[:4].upper())

    def _answer(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            return _HELLO + (b"250 HELP\r\n" if self._encrypted else b"250 STARTTLS\r\n")
        if verb == b"STAR":
            self._handshake = asyncio.get_running_loop().create_task(self._encrypt())
            return b"220 go\r\n"
        if verb == b"MAIL" and not self._encrypted:
            return b"530 5.7.0 STARTTLS first\r\n"
        self._in_data = verb == b"DATA"
        return b"354 go\r\n" if self._in_data else b"250 ok\r\n"

    async def _encrypt(self) -> None:
        loop = asyncio.get_running_loop()
        inner = Sink()
        transport = await loop.start_tls(self._transport, inner, self.context, server_side=True)
        inner.connection_made(transport)

    def _counted(self) -> bytes:
        Sink.left -= 1
        if Sink.left == 0:
            asyncio.get_running_loop().call_later(0.05, self.done.set_result, None)
        return b"250 ok\r\n"


async def main() -> None:
    port, messages, certificate = sys.argv[1:]
    loop = asyncio.get_running_loop()
    Sink.left, Sink.done = int(messages), loop.create_future()
    Sink.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Sink.context.load_cert_chain(certificate)
    await loop.create_server(Sink, "127.0.0.1", int(port), backlog=1000)
    await Sink.done


if __name__ == "__main__":
    uvloop.run(main())
