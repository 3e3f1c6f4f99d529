"""Networks named from a MaxMind database file; the test writes one itself (MaxMind DB file format, version 2.0)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

import pytest

from dmarc.networks import NetworkNames
from mta.events.errors import SettingsError

Value = str | int | tuple[int, int] | list[str] | dict[str, "Value"]
"""An int is unsigned with 32 bits; a pair is another type of number and the number."""

_BITS_16, _BITS_32, _BITS_64 = 5, 6, 9


def encoded(value: Value) -> bytes:
    """A value of the data section: a control byte of type and size, then the content."""
    match value:
        case str():
            return control(2, len(value.encode())) + value.encode()
        case int():
            return encoded((_BITS_32, value))
        case (int(kind), int(number)):
            content = number.to_bytes(8, "big").lstrip(b"\0")
            return control(kind, len(content)) + content
        case list():
            return control(11, len(value)) + b"".join(map(encoded, value))
        case _:
            return control(7, len(value)) + b"".join(encoded(name) + encoded(one) for name, one in value.items())


def control(kind: int, size: int) -> bytes:
    """Types over 7 and sizes over 28 have a byte of their own."""
    short = min(size, 29)
    first = bytes([kind << 5 | short]) if kind <= 7 else bytes([short, kind - 7])
    return first + (bytes([size - 29]) if size >= 29 else b"")


def network_file(networks: Mapping[str, dict[str, Value]]) -> bytes:
    """A database of these networks: a tree of bits over IPv6, IPv4 at ::/96, and what the leaves say."""
    nodes: list[list[int | None]] = [[None, None]]
    leaves: dict[tuple[int, int], int] = {}
    data = b""
    for text, value in networks.items():
        network = ipaddress.ip_network(text)
        length = network.prefixlen + (96 if network.version == 4 else 0)
        bits = f"{int(network.network_address):0128b}"[:length]
        at = 0
        for bit in map(int, bits[:-1]):
            if nodes[at][bit] is None:
                nodes.append([None, None])
                nodes[at][bit] = len(nodes) - 1
            at = nodes[at][bit]
        leaves[at, int(bits[-1])] = len(data)
        data += encoded(value)
    count = len(nodes)
    for (at, bit), offset in leaves.items():
        nodes[at][bit] = count + 16 + offset
    tree = b"".join((count if one is None else one).to_bytes(3, "big") for node in nodes for one in node)
    about = {
        "node_count": count, "record_size": (_BITS_16, 24), "ip_version": (_BITS_16, 6), "languages": ["en"],
        "binary_format_major_version": (_BITS_16, 2), "binary_format_minor_version": (_BITS_16, 0),
        "build_epoch": (_BITS_64, 1_700_000_000), "database_type": "Test-ASN",
        "description": {"en": "made by a test"},
    }  # fmt: skip
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encoded(about)


@pytest.fixture
def names(tmp_path) -> NetworkNames:
    path = tmp_path / "networks.mmdb"
    path.write_bytes(
        network_file(
            {
                "192.0.2.0/24": {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Net"},
                "198.51.100.0/25": {"country": {"iso_code": "NL", "names": {"en": "Netherlands"}}},
                "198.51.100.128/25": {"as_name": "Other Net", "country_code": "DE"},
                "203.0.113.7/32": {"as_name": "x" * 200, "country": "FR"},
                "2001:db8::/32": {"autonomous_system_organization": "Example Net Six", "country": {"iso_code": "CH"}},
            }
        )
    )
    return NetworkNames(path)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.255", "Example Net"),
        ("192.0.3.0", None),
        ("198.51.100.1", "NL"),
        ("198.51.100.200", "Other Net, DE"),
        ("203.0.113.7", "x" * 100 + ", FR"),
        ("203.0.113.8", None),
        ("2001:db8:1::1", "Example Net Six, CH"),
        ("2001:db9::1", None),
        ("no address", None),
    ],
)
def test_an_address_is_named_after_its_network(names, address, name):
    assert names.name(address) == name


@pytest.mark.parametrize("content", [None, b"", b"no database", network_file({"192.0.2.0/24": {}})[:60]])
def test_a_file_that_is_no_database_is_named_at_once(tmp_path, content):
    path: Path = tmp_path / "broken.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"broken\.mmdb"):
        NetworkNames(path)
