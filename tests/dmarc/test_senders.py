"""Who is behind an address."""

from __future__ import annotations

import csv
import re
from collections import Counter
from importlib import resources

import pytest

from dmarc.alignment import is_aligned
from dmarc.senders import OwnAddress, SenderKind, ServiceMap, SourceTraffic, identify

SERVICES = ServiceMap.shipped()


def traffic(**known):
    base = {
        "source_ip": "192.0.2.7", "messages": 100.0, "passed": 0.0, "dkim_aligned": 0.0, "spf_aligned": 0.0,
        "hindered": 0.0, "forwarded": 0.0, "first_day": 0, "last_day": 0,
    }  # fmt: skip
    return SourceTraffic(**(base | known))


@pytest.mark.parametrize(
    ("known", "kind", "name"),
    [
        ({"signers": ("sendgrid.net",)}, SenderKind.SERVICE, "SendGrid"),
        ({"signers": ("example.com", "em123.sendgrid.net")}, SenderKind.SERVICE, "SendGrid"),
        ({"senders": ("u1.amazonses.com",)}, SenderKind.SERVICE, "Amazon SES"),
        ({"signers": ("evilsendgrid.net",)}, SenderKind.SUSPICIOUS, "192.0.2.7"),
        ({"broken_signers": ("sendgrid.net/s1",)}, SenderKind.SUSPICIOUS, "192.0.2.7"),
        ({"forwarded": 90.0}, SenderKind.FORWARDER, "192.0.2.7"),
        ({"signers": ("example.com",), "dkim_aligned": 100.0, "passed": 100.0}, SenderKind.FORWARDER, "192.0.2.7"),
        ({"spf_aligned": 3.0, "passed": 3.0}, SenderKind.UNKNOWN, "192.0.2.7"),
        ({}, SenderKind.SUSPICIOUS, "192.0.2.7"),
    ],
)
def test_evidence_names_the_sender(known, kind, name):
    sender = identify(traffic(**known), "example.com", SERVICES)
    assert (sender.kind, sender.name) == (kind, name)


def test_our_own_logs_are_the_best_evidence():
    own = {"192.0.2.7": OwnAddress("egress-7", "news", "mta-1")}
    sender = identify(traffic(signers=("sendgrid.net",)), "example.com", SERVICES, own)
    assert (sender.kind, sender.name, sender.is_ours) == (SenderKind.OWN, "egress-7", True)


def test_reverse_dns_is_evidence_where_it_is_known():
    host = "mail-am0eur.outbound.protection.outlook.com"
    assert identify(traffic(), "example.com", SERVICES, host=host).name == "Microsoft 365"


@pytest.mark.parametrize(
    ("domain", "strict", "aligned"),
    [
        ("example.com", True, True),
        ("mail.example.com", False, True),
        ("mail.example.com", True, False),
        ("badexample.com", False, False),
        (None, False, False),
    ],
)
def test_alignment(domain, strict, aligned):
    assert is_aligned(domain, "example.com", "example.com", strict=strict) is aligned


ROWS = list(
    csv.DictReader(
        line
        for line in resources.files("dmarc").joinpath("data/services.csv").read_text("ascii").splitlines()
        if not line.startswith("#")
    )
)
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["service"])
def test_a_row_of_the_service_table_is_whole(row):
    assert list(row) == ["service", "kind", "dkim", "spf", "ptr", "source"]
    assert row["kind"] in {"service", "mailbox", "forwarder", "list"}
    assert row["service"]
    assert row["source"]
    names = f"{row['dkim']} {row['spf']} {row['ptr']}".split()
    assert names
    assert not [name for name in names if not _NAME.fullmatch(name)]


def test_no_name_in_the_service_table_speaks_for_two():
    assert len(ROWS) >= 150
    for evidence in ("dkim", "spf", "ptr"):
        counted = Counter(name for row in ROWS for name in row[evidence].split())
        assert [name for name, times in counted.items() if times > 1] == []
    assert len({row["service"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("known", "host", "name", "ours"),
    [
        ({"senders": ("bounce.mlsend.com",)}, None, "MailerLite", True),
        ({}, "mta-71-13.sparkpostmail.com", "SparkPost", True),
        ({}, "1.mo301.mail-out.ovh.net", "OVHcloud", True),
        ({}, "vps-123.ovh.net", "vps-123.ovh.net", False),
        ({}, "esa1.hc123-45.iphmx.com", "Cisco Secure Email", False),
        ({"senders": ("lists.debian.org",)}, None, "Debian lists", False),
        ({"signers": ("gmx.net",)}, None, "GMX", False),
    ],
)
def test_senders_that_reports_show_are_known(known, host, name, ours):
    sender = identify(traffic(**known), "example.com", SERVICES, host=host)
    assert (sender.name, sender.is_ours) == (name, ours)


def test_the_include_that_admits_an_address_names_the_sender():
    path = ("example.com", "_spf.createsend.com")
    assert identify(traffic(), "example.com", SERVICES, admitted_by=path).name == "Campaign Monitor"
