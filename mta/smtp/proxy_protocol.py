"""The PROXY protocol, versions 1 and 2: a load balancer says before all else whose connection it passes on. Pure.

Who may say so decides the listener. A header names the client's address, or says that the connection is the balancer's
own (a health check). The specification is HAProxy's (proxy-protocol.txt, 2020).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["LONGEST", "ProxyHeader", "read_header"]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_LONGEST_V1 = 107
_MOST_V2 = 2048
LONGEST = _FIXED.size + _MOST_V2
"""Bytes after which there is a header, or none will come."""
_LOCAL, _PROXY = 0x20, 0x21
_INET, _INET6 = 0x10, 0x20


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """`size` bytes that were sent before the dialogue. `client` is "" for a connection of the balancer's own."""

    size: int
    client: str


def read_header(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; None while it is incomplete. ValueError if there is none."""
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _read_v2(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _read_v1(data)
    raise ValueError("no PROXY header")


def _read_v1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:_LONGEST_V1].partition(b"\r\n")
    if not end:
        if len(data) >= _LONGEST_V1:
            raise ValueError("a PROXY line without an end")
        return None
    size = len(line) + 2
    match line.decode("ascii", "replace").split(" "):
        case ["PROXY", "UNKNOWN", *_]:
            return ProxyHeader(size, "")
        case ["PROXY", "TCP4" | "TCP6" as family, source, target, source_port, target_port]:
            kind = IPv4Address if family == "TCP4" else IPv6Address
            kind(target)
            if not all(port.isdigit() and int(port) < 65536 for port in (source_port, target_port)):
                raise ValueError("a PROXY line with a wrong port")
            return ProxyHeader(size, str(kind(source)))
    raise ValueError("a PROXY line that cannot be read")


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in {_LOCAL, _PROXY} or length > _MOST_V2:
        raise ValueError("a PROXY header that cannot be read")
    size = _FIXED.size + length
    if len(data) < size:
        return None
    addresses = data[_FIXED.size : size]
    width = {_INET: 4, _INET6: 16}.get(family & 0xF0)
    if command == _LOCAL or width is None:
        return ProxyHeader(size, "")
    if length < 2 * width + 4:
        raise ValueError("a PROXY header that is too short for its addresses")
    return ProxyHeader(size, str(ip_address(addresses[:width])))
