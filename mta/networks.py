"""Sets of IP networks: who may relay, where an MX record may not send us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["Networks"]


@dataclass(frozen=True, slots=True)
class Networks:
    """A set of networks. A v4-mapped v6 address (`::ffff:192.0.2.1`) counts as the v4 address in it."""

    blocks: Sequence[IPv4Network | IPv6Network]

    def __contains__(self, address: str) -> bool:
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in block for block in self.blocks)
