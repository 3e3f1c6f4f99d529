"""A collector with open roads on free loopback ports, and everything that was landed read into a store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collector.drain import Drain
from collector.metrics import RoadHealth
from collector.roads import Roads, landing_folders
from collector.settings import CollectorSettings
from collector.testing import MemoryStore


@dataclass
class OpenRoads:
    """`at(road)` is where it listens; `drain()` hands what has landed to the store."""

    roads: Roads
    settings: CollectorSettings
    root: Path
    store: MemoryStore

    def at(self, road: str) -> tuple[str, int]:
        return self.roads.addresses[road]

    def url(self, road: str) -> str:
        return "http://{}:{}".format(*self.at(road))

    def health(self, road: str) -> RoadHealth:
        return self.roads.health[road]

    def drain(self) -> MemoryStore:
        drain = Drain(landing_folders(self.root), self.store, self.settings)
        while drain.step():
            pass
        drain.flush()
        drain.close()
        return self.store

    @property
    def recipients(self) -> list[str]:
        return [event.recipient for event in self.drain().events.values()]


@pytest.fixture
async def open_roads(tmp_path, store) -> AsyncIterator[Any]:
    """Opens the roads whose settings it is given, each on a free port, and closes them at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**roads: Any) -> OpenRoads:
            shared = {"landing_free_bytes": 0, **roads.pop("shared", {})}
            tables = {name: {"port": 0} | table for name, table in roads.items()}
            settings = CollectorSettings.model_validate(shared | tables)
            opened = Roads(settings, tmp_path / "landing")
            await opened.start()
            stack.push_async_callback(opened.stop)
            return OpenRoads(opened, settings, tmp_path / "landing", store)

        yield make


class _Authority:
    """Makes certificates for loopback."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.files = self._write(name, self._key, self._signed(self._name, self._key, is_authority=True))

    def issue(self, name: str) -> tuple[str, str]:
        """Certificate and key of `name`, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, key, self._signed(_named(name), key))

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool = False):
        now = datetime.now(UTC)
        common = name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        names = [x509.DNSName(str(common)), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> tuple[str, str]:
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(paths[0]), str(paths[1])


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> dict[str, tuple[str, str]]:
    """Certificate and key of an authority, a server and a client of it, and of a client of another one."""
    ours = _Authority(tmp_path_factory.mktemp("ours"), "ca")
    theirs = _Authority(tmp_path_factory.mktemp("theirs"), "other-ca")
    return {
        "ca": ours.files,
        "server": ours.issue("collector"),
        "client": ours.issue("relay-1"),
        "stranger": theirs.issue("relay-1"),
    }
