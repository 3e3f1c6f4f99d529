"""SPF as RFC 7208 has it, its limits above all."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dmarc.authentication.spf import SpfQuestion, check_host
from dmarc.reports import Result


async def result(zone, record: object, ip: str = "192.0.2.7", sender: str = "a@example.com", **more) -> Result:
    texts = {"example.com": record, **more.pop("txt", {})}
    found, _ = await check_host(SpfQuestion(ip_address(ip), sender, "mail.example.com"), zone(texts, **more))
    return found


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", Result.PASS),
        ("v=spf1 ip4:198.51.100.0/24 -all", Result.FAIL),
        ("v=spf1 ip4:198.51.100.0/24 ~all", Result.SOFTFAIL),
        ("v=spf1 ?all", Result.NEUTRAL),
        ("v=spf1", Result.NEUTRAL),
        ("v=spf1 a -all", Result.PASS),
        ("v=spf1 a:other.example -all", Result.FAIL),
        ("v=spf1 a/24 -all", Result.PASS),
        ("v=spf1 mx -all", Result.PASS),
        ("v=spf1 include:inc.example -all", Result.PASS),
        ("v=spf1 include:no.example -all", Result.FAIL),
        ("v=spf1 include:absent.example -all", Result.PERMERROR),
        ("v=spf1 redirect=inc.example", Result.PASS),
        ("v=spf1 redirect=absent.example", Result.PERMERROR),
        ("v=spf1 exists:%{ir}.%{v}.list.example -all", Result.PASS),
        ("v=spf1 exists:%{l}.%{d2}.list.example -all", Result.PASS),
        ("v=spf1 ptr -all", Result.PASS),
        ("v=spf1 IP4:192.0.2.7 -ALL", Result.PASS),
        ("v=spf1 exp=why.example ip4:192.0.2.7 -all", Result.PASS),
        ("v=spf1 nonsense -all", Result.PERMERROR),
        ("v=spf1 ip4:999.1.1.1 -all", Result.PERMERROR),
        (["v=spf1 -all", "v=spf1 +all"], Result.PERMERROR),
        (["something else", "v=spf10 +all"], Result.NONE),
    ],
)
async def test_records(zone, record, expected):
    known = {
        "txt": {"inc.example": "v=spf1 ip4:192.0.2.0/28 -all", "no.example": "v=spf1 -all"},
        "a": {
            "example.com": "192.0.2.7",
            "other.example": "198.51.100.9",
            "mx1.example": "192.0.2.7",
            "7.2.0.192.in-addr.list.example": "127.0.0.2",
            "a.example.com.list.example": "127.0.0.2",
            "host.example.com": "192.0.2.7",
        },
        "mx": {"example.com": ["mx1.example"]},
        "ptr": {"192.0.2.7": "host.example.com"},
    }
    assert await result(zone, record, **known) is expected


async def test_ipv6_has_prefixes_of_its_own(zone):
    addresses = {"example.com": ["192.0.2.1", "2001:db8::1"]}
    assert await result(zone, "v=spf1 a//64 -all", "2001:db8::99", a=addresses) is Result.PASS
    assert await result(zone, "v=spf1 ip6:2001:db8::/32 -all", "2001:db8::99") is Result.PASS
    assert await result(zone, "v=spf1 a -all", "2001:db8::99", a=addresses) is Result.FAIL


async def test_the_eleventh_lookup_is_an_error(zone):
    def nested(count: int) -> dict[str, str]:
        return {f"n{number}.example": f"v=spf1 include:n{number + 1}.example ?all" for number in range(count)} | {
            f"n{count}.example": "v=spf1 +all"
        }

    assert await result(zone, "v=spf1 include:n0.example -all", txt=nested(9)) is Result.PASS
    assert await result(zone, "v=spf1 include:n0.example -all", txt=nested(10)) is Result.PERMERROR


async def test_the_third_lookup_that_finds_nothing_is_an_error(zone):
    assert await result(zone, "v=spf1 a:x.example a:y.example +all") is Result.PASS
    assert await result(zone, "v=spf1 a:x.example a:y.example a:z.example +all") is Result.PERMERROR


async def test_a_record_that_includes_itself_ends(zone):
    assert await result(zone, "v=spf1 include:example.com +all") is Result.PERMERROR


async def test_no_answer_is_a_temporary_error(zone):
    assert await result(zone, "v=spf1 a:down.example -all", failing=["down.example"]) is Result.TEMPERROR
