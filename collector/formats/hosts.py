"""Names and addresses of other hosts, as logs write them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

__all__ = ["host_or_none", "ip_or_none", "is_loopback", "is_loopback_name"]


@lru_cache(maxsize=65_536)
def ip_or_none(written: str) -> str | None:
    """The canonical text of an IP address; None for `unknown`, a socket's path or anything else."""
    try:
        return str(ip_address(written.removeprefix("IPv6:")))
    except ValueError:
        return None


@lru_cache(maxsize=65_536)
def is_loopback(address: str) -> bool:
    """The address is one of this host's own inside."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def is_loopback_name(name: str) -> bool:
    """The name, or the address in its place, means this very host."""
    return name in {"localhost", "localhost.localdomain", "localhost6", "ip6-localhost"} or is_loopback(name)


def host_or_none(name: str) -> str | None:
    """A host name without its final dot; None where the server did not know one."""
    return None if name in {"", "unknown", "none"} else name.rstrip(".") or None
