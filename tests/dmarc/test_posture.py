"""What a domain publishes, judged in words for its owner; and nothing that DNS did not say."""

from __future__ import annotations

import pytest

from dmarc.authentication.spf_tree import read_tree
from dmarc.errors import LookupFailed
from dmarc.posture import Level, inspect

SOUND = {
    "example.com": "v=spf1 include:_spf.mail.example ~all",
    "_spf.mail.example": "v=spf1 ip4:192.0.2.0/24 -all",
    "_dmarc.example.com": "v=DMARC1; p=reject; rua=mailto:rua@example.com",
    "_mta-sts.example.com": "v=STSv1; id=1",
    "_smtp._tls.example.com": "v=TLSRPTv1; rua=mailto:tls@example.com",
}
POLICY = "version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 86400\n"


async def page(_url: str) -> str | None:
    return POLICY


async def no_page(_url: str) -> str | None:
    return None


async def broken_page(url: str) -> str | None:
    raise LookupFailed("no answer", where=url)


async def found(zone, fetch=page, selectors=(), failing=(), **changes: object) -> dict[str, list[tuple[Level, str]]]:
    texts = {**SOUND, **{name.replace("__", "."): value for name, value in changes.items()}}
    published = {name: value for name, value in texts.items() if value}
    dns = zone(published, mx={"example.com": ["mx.example.com"]}, failing=failing)
    posture = await inspect("example.com", dns, fetch, selectors)
    told: dict[str, list[tuple[Level, str]]] = {}
    for finding in posture.findings:
        told.setdefault(finding.subject, []).append((finding.level, finding.text))
    return told


async def test_a_sound_domain_has_nothing_to_worry_about(zone):
    told = await found(zone)
    for subject in ("spf", "dmarc", "mta-sts", "tls-rpt"):
        assert [level for level, _ in told[subject]] == [Level.OK], told[subject]


@pytest.mark.parametrize(
    ("record", "level", "words"),
    [
        ("v=spf1 +all", Level.PROBLEM, "everybody"),
        ("v=spf1 mx", Level.WARNING, "everybody"),
        ("v=spf1 " + " ".join(f"a:h{n}.example" for n in range(11)) + " -all", Level.PROBLEM, "11 DNS look-ups"),
        ("v=spf1 include:example.com -all", Level.PROBLEM, "circle"),
        ("v=spf1 include:gone.example -all", Level.PROBLEM, "no SPF record"),
        ("v=spf1 a:x.example a:y.example a:z.example -all", Level.PROBLEM, "find nothing"),
        ("v=spf1 ip4:1.2.3 -all", Level.PROBLEM, "no network"),
        ("v=spf1 ptr -all", Level.PROBLEM, "ptr"),
        (["v=spf1 -all", "v=spf1 ~all"], Level.PROBLEM, "2 SPF records"),
        (None, Level.PROBLEM, "no SPF record"),
    ],
)
async def test_spf(zone, record, level, words):
    told = (await found(zone, example__com=record))["spf"]
    assert any(item[0] is level and words in item[1] for item in told), told


@pytest.mark.parametrize(
    ("record", "level", "words"),
    [
        (None, Level.PROBLEM, "no DMARC record"),
        (["v=DMARC1; p=none", "v=DMARC1; p=none"], Level.PROBLEM, "ignore all"),
        ("v=DMARC1; p=none; rua=mailto:a@example.com", Level.NOTE, "p=none"),
        ("v=DMARC1; p=reject", Level.PROBLEM, "No rua"),
        ("v=DMARC1; p=rejected; rua=mailto:a@example.com", Level.PROBLEM, "no policy"),
        ("v=DMARC1; p=reject; ruaa=mailto:a@example.com", Level.WARNING, "ruaa"),
        ("v=DMARC1; p=reject; pct=50; rua=mailto:a@example.com", Level.WARNING, "pct"),
        ("v=DMARC1; p=reject; t=y; rua=mailto:a@example.com", Level.NOTE, "t=y"),
    ],
)
async def test_dmarc(zone, record, level, words):
    told = (await found(zone, _dmarc__example__com=record))["dmarc"]
    assert any(item[0] is level and words in item[1] for item in told), told


async def test_reports_to_others_need_their_consent(zone):
    record = {"_dmarc__example__com": "v=DMARC1; p=reject; rua=mailto:a@example.com,mailto:b@reports.other.example!10m"}
    ((level, text),) = (await found(zone, **record))["reports"]
    assert level is Level.PROBLEM
    assert "example.com._report._dmarc.reports.other.example" in text
    consent = {"example.com._report._dmarc.reports.other.example": "v=DMARC1"}
    ((level, _),) = (await found(zone, **record, **consent))["reports"]
    assert level is Level.OK


@pytest.mark.parametrize(
    ("record", "level", "words"),
    [("v=DKIM1; p=", Level.PROBLEM, "revoked"), (None, Level.WARNING, "no key")],
)
async def test_dkim(zone, record, level, words):
    told = (await found(zone, selectors=["s1"], **{"s1._domainkey.example.com": record}))["dkim"]
    assert told[0][0] is level
    assert words in told[0][1]


@pytest.mark.parametrize(
    ("fetch", "level", "words"), [(no_page, Level.PROBLEM, "policy is not"), (broken_page, Level.UNKNOWN, "no answer")]
)
async def test_a_policy_that_cannot_be_had(zone, fetch, level, words):
    ((seen, text),) = (await found(zone, fetch))["mta-sts"]
    assert seen is level
    assert words in text


async def test_a_policy_that_leaves_out_a_mail_host_is_a_problem(zone):
    async def other(_url: str) -> str:
        return POLICY.replace("*.example.com", "mx.other.example")

    ((level, text),) = (await found(zone, other))["mta-sts"]
    assert level is Level.PROBLEM
    assert "mx.example.com" in text


async def test_a_name_server_that_is_down_is_no_missing_record(zone):
    told = await found(zone, failing=["example.com", "_dmarc.example.com", "_smtp._tls.example.com"])
    for subject in ("spf", "dmarc", "tls-rpt"):
        assert told[subject][0][0] in (Level.UNKNOWN, Level.PROBLEM)
        assert "no answer" in told[subject][0][1]


async def test_the_tree_knows_by_which_include_an_address_is_admitted(zone):
    tree = await read_tree("example.com", zone(SOUND))
    assert tree.admitting("192.0.2.9") == ("example.com", "_spf.mail.example")
    assert tree.admitting("198.51.100.1") == ()
    assert tree.lookups == 1
