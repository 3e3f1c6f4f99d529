"""Reports made to order, and the ways to pack and to read them."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from dmarc.errors import LookupFailed
from dmarc.reading import Reading, read_reports
from dmarc.reports import Record

BEGIN = 1_700_006_400
_PROLOG = '<?xml version="1.0"?>'


def make_record(ip: str = "192.0.2.1", count: object = 1, **parts: str) -> str:
    """One record; `extra` stands at its end, other names replace parts."""
    evaluated = parts.get(
        "evaluated",
        "<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated>",
    )
    auth = parts.get(
        "auth",
        "<dkim><domain>example.com</domain><selector>s1</selector><result>pass</result></dkim>"
        "<spf><domain>example.com</domain><scope>mfrom</scope><result>fail</result></spf>",
    )
    return (
        f"<record><row><source_ip>{ip}</source_ip><count>{count}</count>{evaluated}</row>"
        f"<identifiers><header_from>{parts.get('header_from', 'example.com')}</header_from></identifiers>"
        f"<auth_results>{auth}</auth_results>{parts.get('extra', '')}</record>"
    )


def make_report(records: Iterable[str] | None = None, **parts: object) -> bytes:
    """A report of RFC 7489's shape."""
    body = "".join([make_record()] if records is None else records)
    begin = parts.get("begin", BEGIN)
    end = parts.get("end", BEGIN + 86_399)
    return (
        f"{parts.get('prolog', _PROLOG)}<feedback{parts.get('attributes', '')}><version>1.0</version>"
        f"<report_metadata><org_name>{parts.get('org', 'receiver.example')}</org_name>"
        "<email>dmarc@receiver.example</email>"
        f"<report_id>{parts.get('report_id', 'r1')}</report_id>"
        f"<date_range><begin>{begin}</begin><end>{end}</end></date_range></report_metadata>"
        f"<policy_published><domain>{parts.get('domain', 'example.com')}</domain><adkim>r</adkim><p>reject</p>"
        f"<sp></sp><pct>100</pct></policy_published>{body}</feedback>\n"
    ).encode()


def zipped(*members: tuple[str, bytes]) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def mailed(*parts: tuple[str, str, bytes], headers: str = "") -> bytes:
    """A mail of parts (content type, file name, content), each in base64."""
    sections = "".join(
        f'--b\r\nContent-Type: {kind}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{base64.encodebytes(data).decode()}\r\n"
        for kind, name, data in parts
    )
    return (
        f"{headers}From: Reports <noreply@receiver.example>\r\nTo: rua@example.com\r\n"
        "Message-ID: <m1@receiver.example>\r\n"
        "Subject: Report Domain: example.com\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n"
        f"{sections}--b--\r\n"
    ).encode()


@dataclass
class Found:
    """A reading with its records."""

    reading: Reading
    records: list[Record]

    def __getattr__(self, name: str) -> object:
        return getattr(self.reading, name)


def read_all(data: bytes | Iterable[bytes], **options: object) -> list[Found]:
    """Everything in an input."""
    found: list[Found] = []
    records: list[Record] = []
    for item in read_reports([data] if isinstance(data, bytes) else data, **options):
        if isinstance(item, Reading):
            found.append(Found(item, records))
            records = []
        else:
            records += item
    return found


@pytest.fixture
def read() -> Callable[..., list[Found]]:
    return read_all


@pytest.fixture
def read_one() -> Callable[..., Found]:
    """Reads an input that holds exactly one report."""

    def only(data: bytes, **options: object) -> Found:
        (found,) = read_all(data, **options)
        return found

    return only


@pytest.fixture
def report() -> Callable[..., bytes]:
    return make_report


@pytest.fixture
def record() -> Callable[..., str]:
    return make_record


@pytest.fixture
def zip_of() -> Callable[..., bytes]:
    return zipped


@pytest.fixture
def mail_of() -> Callable[..., bytes]:
    return mailed


@pytest.fixture
def gz() -> Callable[[bytes], bytes]:
    return gzip.compress


@pytest.fixture(scope="session")
def read_all_once() -> Callable[..., list[Found]]:
    """The same for property tests, which want no fixture per test."""
    return read_all


@pytest.fixture(scope="session")
def samples() -> list[bytes]:
    """One of each kind of input, the plain report first."""
    plain = make_report([make_record(count=number) for number in range(1, 5)])
    tls = b'{"organization-name":"r","policies":[{"policy":{"policy-type":"sts"},"summary":{}}]}'
    return [
        plain,
        plain.decode().encode("utf-16"),
        gzip.compress(plain, mtime=0),
        zipped(("a.xml", plain), ("b.xml", plain)),
        mailed(("application/gzip", "a.xml.gz", gzip.compress(plain, mtime=0)), ("text/xml", "b.xml", plain)),
        tls,
    ]


class Zone:
    """A resolver that knows what it is given: `records[kind, name]`; `failing` names have no answer."""

    def __init__(self, txt=None, a=None, mx=None, ptr=None, failing=()) -> None:
        self._known = {"txt": txt or {}, "a": a or {}, "mx": mx or {}, "ptr": ptr or {}}
        self._failing = frozenset(failing)
        self.asked: list[tuple[str, str]] = []

    async def txt(self, name: str) -> tuple[str, ...]:
        return self._find("txt", name)

    async def addresses(self, name: str) -> tuple[str, ...]:
        return self._find("a", name)

    async def mx(self, name: str) -> tuple[str, ...]:
        return self._find("mx", name)

    async def names(self, address: str) -> tuple[str, ...]:
        return self._find("ptr", address)

    def _find(self, kind: str, name: str) -> tuple[str, ...]:
        self.asked.append((kind, name))
        if name in self._failing:
            raise LookupFailed("no answer", where=name)
        found = self._known[kind].get(name, ())
        return (found,) if isinstance(found, str) else tuple(found)


@pytest.fixture
def zone() -> type[Zone]:
    return Zone
