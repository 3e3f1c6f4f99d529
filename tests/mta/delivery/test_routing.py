"""Where mail goes, asked of a real DNS server."""

import random

import pytest

from mta.delivery.resolver import DnsResolver
from mta.delivery.routing import Destination, Router, site_name
from mta.settings import MtaSettings


class Clock:
    now = 1_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def router(dns_server):
    def make(**settings):
        resolver = DnsResolver(["127.0.0.1"], dns_server.port, 2.0)
        made = Router(MtaSettings(**settings), resolver, Clock(), random.Random(1))
        made.clock = made._clock
        return made

    return make


async def test_hosts_come_in_the_order_of_preference_with_their_addresses(dns_server, router):
    dns_server.zone = {
        ("example.com", "MX"): ["20 backup.example.com.", "10 Mx.Example.com."],
        ("mx.example.com", "A"): ["192.0.2.1", "192.0.2.2"],
        ("mx.example.com", "AAAA"): ["2001:db8::1"],
        ("backup.example.com", "A"): ["192.0.2.9"],
    }
    found = await router(smtp_port=2525).destination("example.com")
    assert [(host.name, sorted(host.addresses), host.port) for host in found.hosts] == [
        ("mx.example.com", ["192.0.2.1", "192.0.2.2", "2001:db8::1"], 2525),
        ("backup.example.com", ["192.0.2.9"], 2525),
    ]
    assert found.site == "(backup|mx).example.com"


async def test_a_domain_without_mx_is_its_own_mail_host(dns_server, router):
    dns_server.zone = {("example.com", "A"): ["192.0.2.1"]}
    found = await router().destination("example.com")
    assert [(host.name, host.addresses) for host in found.hosts] == [("example.com", ("192.0.2.1",))]


@pytest.mark.parametrize(
    ("zone", "code", "enhanced", "text"),
    [
        ({}, 550, "5.1.2", "does not exist"),
        ({("example.com", "MX"): ["0 ."]}, 556, "5.1.10", "null MX"),
        ({("example.com", "TXT"): ["x"]}, 550, "5.4.4", "have no address"),
        ({("example.com", "MX"): ["10 gone.example.com."]}, 550, "5.4.4", "have no address"),
        (
            {("example.com", "MX"): ["10 mx.example.com."], ("mx.example.com", "A"): ["127.0.0.1"]},
            550,
            "5.4.4",
            "prohibited addresses",
        ),
        ({("example.com", "MX"): ["10 broken.example.com."]}, 451, "4.4.3", "cannot look up the address of broken"),
    ],
)
async def test_a_domain_that_takes_no_mail_is_answered_for_in_our_own_name(
    dns_server, router, zone, code, enhanced, text
):
    dns_server.zone = zone
    dns_server.failing = {"broken.example.com"}
    reply = await router().destination("example.com")
    assert (reply.code, str(reply.enhanced)) == (code, enhanced)
    assert reply.text.startswith("KumoMTA internal: ")
    assert text in reply.text


async def test_a_server_failure_is_no_reason_to_give_up(dns_server, router):
    dns_server.failing = {"example.com"}
    reply = await router().destination("example.com")
    assert (reply.code, str(reply.enhanced)) == (451, "4.4.3")


async def test_one_bad_host_does_not_spoil_the_others(dns_server, router):
    dns_server.zone = {
        ("example.com", "MX"): ["5 loop.example.com.", "10 broken.example.com.", "20 mx.example.com."],
        ("loop.example.com", "A"): ["127.0.0.1"],
        ("mx.example.com", "A"): ["192.0.2.1"],
    }
    dns_server.failing = {"broken.example.com"}
    found = await router().destination("example.com")
    assert [host.name for host in found.hosts] == ["mx.example.com"]


async def test_an_answer_is_remembered_for_its_ttl_and_asked_for_again_afterwards(dns_server, router):
    dns_server.zone = {("example.com", "MX"): ["10 mx.example.com."], ("mx.example.com", "A"): ["192.0.2.1"]}
    dns_server.ttl = 100
    routes = router()
    await routes.destination("example.com")
    asked = len(dns_server.asked)
    assert isinstance(routes.known("example.com"), Destination)
    routes.clock.now += 101_000_000
    assert routes.known("example.com") is None
    await routes.destination("example.com")
    assert len(dns_server.asked) == 2 * asked


async def test_a_configured_route_goes_before_dns_and_the_star_is_for_all_others(dns_server, router):
    routes = router(
        routes=[
            {"domain": "Example.com", "host": "mx.a.example", "address": "127.0.0.1", "port": 2601},
            {"domain": "*", "host": "mx.b.example", "address": "::1", "port": 2602},
        ]
    )
    assert (await routes.destination("example.com")).hosts[0].port == 2601
    assert (await routes.destination("other.example")).site == "mx.b.example"
    assert dns_server.asked == []


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (["mx.example.com"], "mx.example.com"),
        (["alt1.mx.example.com", "mx.example.com"], "(alt1)?.mx.example.com"),
        (["b.example.com", "a.example.com"], "(a|b).example.com"),
        (["mx.a.example", "mx.b.test"], "(mx.a.example|mx.b.test)"),
    ],
)
def test_a_site_is_named_after_its_hosts_folded(hosts, name):
    assert site_name(hosts) == name


async def test_our_own_name_among_the_mail_hosts_cuts_the_list_there(dns_server, router):
    dns_server.zone = {
        ("example.com", "MX"): ["10 a.example.com.", "20 US.example.com.", "20 b.example.com.", "30 c.example.com."],
        ("a.example.com", "A"): ["192.0.2.1"],
        ("loop.example.com", "MX"): ["10 us.example.com.", "20 a.example.com."],
    }
    ours = router(hostname="us.example.com")
    assert [host.name for host in (await ours.destination("example.com")).hosts] == ["a.example.com"]
    reply = await ours.destination("loop.example.com")
    assert (reply.code, str(reply.enhanced)) == (554, "5.4.6")


async def test_families_come_by_turns(dns_server, router):
    dns_server.zone = {
        ("example.com", "A"): ["192.0.2.1", "192.0.2.2"],
        ("example.com", "AAAA"): ["2001:db8::1", "2001:db8::2"],
    }
    (host,) = (await router().destination("example.com")).hosts
    assert [":" in address for address in host.addresses] == [False, True, False, True]


async def test_a_smarthost_without_an_address_is_looked_up_wherever_it_is(dns_server, router):
    dns_server.zone = {("smart.example", "A"): ["127.0.0.9"]}
    routed = router(routes=[{"domain": "*", "host": "smart.example", "port": 2525}])
    (host,) = (await routed.destination("any.example")).hosts
    assert (host.name, host.addresses, host.port) == ("smart.example", ("127.0.0.9",), 2525)
    assert (await router(routes=[{"domain": "*", "host": "gone.example"}]).destination("any.example")).code == 451
