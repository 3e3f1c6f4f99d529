"""Who is behind an address."""

from __future__ import annotations

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
