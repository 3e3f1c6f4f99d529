"""A listening socket behind load balancers: each connection is asked for its PROXY header before anything else.

The header is looked at in the socket before there is a transport, and exactly its bytes are taken, so that what follows
it, a TLS handshake too, finds itself at the beginning.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from mta.networks import Networks
from mta.smtp.proxy_protocol import LONGEST, read_header

__all__ = ["ProxiedSocket"]

_LOG = logging.getLogger(__name__)
_PATIENCE = 5.0
_POLL = 0.01


class ProxiedSocket:
    """Accepts from `start` to `close`. `make` gets the client's address; `options` are those of the transport."""

    def __init__(
        self,
        listening: socket.socket,
        balancers: Networks,
        make: Callable[[str], asyncio.Protocol],
        options: Mapping[str, Any],
    ) -> None:
        self._listening = listening
        self._balancers = balancers
        self._make = make
        self._options = options
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The socket, where `asyncio.Server` has its."""
        return (self._listening,)

    def start(self) -> None:
        """Begin to accept."""
        self._listening.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more; those that have not said their header yet are dropped."""
        for task in (self._accepting, *self._tasks):
            if task is not None:
                task.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._listening)
            except OSError as error:
                _LOG.error("cannot accept: %s", error)
                await asyncio.sleep(1)
                continue
            task = loop.create_task(self._welcome(connection, peer[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _welcome(self, connection: socket.socket, peer: str) -> None:
        client = peer
        try:
            if peer in self._balancers:
                client = await asyncio.wait_for(_header(connection), _PATIENCE) or peer
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make(client), connection, **self._options
            )
        except (OSError, ValueError, TimeoutError) as error:
            _LOG.warning(
                "a connection from the load balancer %s is dropped: %s", peer, str(error) or "no PROXY header in time"
            )
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise


async def _header(connection: socket.socket) -> str:
    """Take the PROXY header off a connection; the address that it names."""
    connection.setblocking(False)
    while True:
        await _readable(connection)
        with suppress(BlockingIOError):
            data = connection.recv(LONGEST, socket.MSG_PEEK)
            if not data:
                raise ValueError("closed before its PROXY header")
            found = read_header(data)
            if found is not None:
                connection.recv(found.size)
                return found.client
        await asyncio.sleep(_POLL)  # what was looked at is still there and would be readable at once


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
