"""A TCP connection from one of our addresses to a mail host, directly or through a proxy.

The proxy is told by version 2 of HAProxy's PROXY protocol from which of its addresses to connect to whom.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from mta.delivery.egress import Source

__all__ = ["open_socket", "proxy_header"]

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_VERSION_AND_COMMAND = 0x21
_TCP_OVER_IPV4, _TCP_OVER_IPV6 = 0x11, 0x21


async def open_socket(source: Source, address: str, port: int, patience: float) -> socket.socket:
    """A connected socket; raises OSError, of which TimeoutError is one."""
    own = source.address_for(address)
    goal = source.proxy or (address, port)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(patience):
        (family, kind, _, _, where), *_ = await loop.getaddrinfo(*goal, type=socket.SOCK_STREAM)
        opened = socket.socket(family, kind)
        try:
            opened.setblocking(False)
            if own is not None and source.proxy is None:
                opened.bind((own, 0))
            await loop.sock_connect(opened, where)
            if own is not None and source.proxy is not None:
                await loop.sock_sendall(opened, proxy_header(own, address, port))
        except BaseException:
            opened.close()
            raise
    return opened


def proxy_header(own: str, address: str, port: int) -> bytes:
    """Asks for a connection from `own`, at any port, to the address."""
    from_, to = ip_address(own), ip_address(address)
    family = _TCP_OVER_IPV4 if to.version == 4 else _TCP_OVER_IPV6
    addresses = from_.packed + to.packed + (0).to_bytes(2) + port.to_bytes(2)
    return _SIGNATURE + bytes((_VERSION_AND_COMMAND, family)) + len(addresses).to_bytes(2) + addresses
