"""The resolver against a name server of our own on loopback: answers, nothing, and no answer are three things."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from click.testing import CliRunner

from dmarc.authentication.spf_tree import SpfTree
from dmarc.dns import CachedResolver
from dmarc.errors import LookupFailed
from dmarc.lookups import look_up
from dmarc.senders import SenderKind, ServiceMap, SourceTraffic, identify
from mtascope.cli.dmarc import command

RECORDS = {
    ("example.com.", "TXT"): ['"v=spf1 include:_spf.google.com ip4:203.0.113.0/24 -all"'],
    ("_spf.google.com.", "TXT"): ['"v=spf1 ip4:198.51.100.0/24 ~all"'],
    ("_dmarc.example.com.", "TXT"): ['"v=DMARC1; p=quarantine; " "rua=mailto:rua@example.com"'],
    ("example.com.", "MX"): ["20 b.example.com.", "10 a.example.com."],
    ("a.example.com.", "A"): ["192.0.2.1"],
    ("a.example.com.", "AAAA"): ["2001:db8::1"],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["a.example.com."],
    ("9.2.0.192.in-addr.arpa.", "PTR"): ["a.example.com."],
}


class NameServer(threading.Thread):
    """Answers over UDP from RECORDS; `broken` names get SERVFAIL."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.asked: list[str] = []

    def run(self) -> None:
        while True:
            try:
                data, peer = self.socket.recvfrom(4_096)
            except OSError:
                return
            query = dns.message.from_wire(data)
            name, kind = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
            self.asked.append(f"{name} {kind}")
            answer = dns.message.make_response(query)
            if name.startswith("broken"):
                answer.set_rcode(dns.rcode.SERVFAIL)
            elif found := RECORDS.get((name, kind)):
                answer.answer.append(dns.rrset.from_text(name, 300, "IN", kind, *found))
            elif not any(known == name for known, _ in RECORDS):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.socket.sendto(answer.to_wire(), peer)


@pytest.fixture
def server() -> Iterator[NameServer]:
    running = NameServer()
    running.start()
    yield running
    running.socket.close()


@pytest.fixture
def resolver(server) -> CachedResolver:
    return CachedResolver(["127.0.0.1"], server.port, timeout=2)


async def test_every_kind_of_record(resolver):
    assert await resolver.txt("_dmarc.example.com") == ("v=DMARC1; p=quarantine; rua=mailto:rua@example.com",)
    assert await resolver.mx("example.com") == ("a.example.com", "b.example.com")
    assert await resolver.addresses("a.example.com") == ("192.0.2.1", "2001:db8::1")
    assert await resolver.names("192.0.2.1") == ("a.example.com",)


async def test_nothing_is_no_error_and_no_answer_is_one(resolver):
    assert await resolver.txt("absent.example") == ()
    assert await resolver.mx("a.example.com") == ()
    assert await resolver.names("no address") == ()
    assert await resolver.txt(f"{'x' * 64}.example") == ()
    with pytest.raises(LookupFailed):
        await resolver.txt("broken.example")


async def test_answers_are_remembered_and_failures_only_for_a_minute(server):
    now = 0.0
    resolver = CachedResolver(["127.0.0.1"], server.port, timeout=2, clock=lambda: now)
    for _ in range(3):
        await resolver.txt("example.com")
        with pytest.raises(LookupFailed):
            await resolver.txt("broken.example")
    asked = len(server.asked)
    now = 61.0
    await resolver.txt("example.com")
    assert len(server.asked) == asked
    with pytest.raises(LookupFailed):
        await resolver.txt("broken.example")
    assert len(server.asked) > asked


def test_one_resolver_serves_several_event_loops(resolver):
    assert asyncio.run(resolver.mx("example.com")) == asyncio.run(resolver.mx("example.com"))


async def test_a_name_that_does_not_lead_back_is_no_name(resolver):
    facts = await look_up("example.com", ["192.0.2.1", "192.0.2.9", "192.0.2.77"], resolver)
    assert facts.hosts == {"192.0.2.1": "a.example.com"}


def traffic(address: str) -> SourceTraffic:
    return SourceTraffic(
        source_ip=address, messages=9, passed=0, dkim_aligned=0, spf_aligned=0, hindered=0, forwarded=0,
        first_day=0, last_day=0,
    )  # fmt: skip


async def test_senders_are_named_by_the_include_that_admits_them(resolver):
    spf: SpfTree = (await look_up("example.com", [], resolver)).spf

    def who(address: str):
        return identify(traffic(address), "example.com", ServiceMap.shipped(), admitted_by=spf.admitting(address))

    assert (who("198.51.100.9").kind, who("198.51.100.9").name) == (SenderKind.SERVICE, "Google Workspace")
    assert who("203.0.113.9").kind is SenderKind.AUTHORISED
    assert who("192.0.2.200").kind is SenderKind.SUSPICIOUS


def test_the_command_shows_the_posture(server, tmp_path):
    config = tmp_path / "settings.toml"
    config.write_text(
        f'data = "{tmp_path}/data"\n[dmarc]\nnameservers = ["127.0.0.1"]\nnameserver_port = {server.port}\n'
    )
    done = CliRunner().invoke(command, ["posture", "example.com", "--config", str(config), "--json"])
    answer = json.loads(done.output)
    assert (answer["domain"], answer["spf_lookups"]) == ("example.com", 1)
    assert answer["records"]["dmarc"].startswith("v=DMARC1; p=quarantine")
    assert {finding["subject"] for finding in answer["findings"]} >= {"spf", "dmarc", "mta-sts", "tls-rpt", "dkim"}
