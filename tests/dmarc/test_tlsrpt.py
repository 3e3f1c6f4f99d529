"""TLS reports: sessions and failures, in the shapes that the wild sends."""

from __future__ import annotations

import json

import pytest

from dmarc.deviation import Deviation, Deviations
from dmarc.errors import DamagedReport, NotAReport
from dmarc.reports import Outcome
from dmarc.tlsrpt import read_tls_report
from mta.events.instants import parse_instant

REPORT = {
    "organization-name": "Receiver",
    "date-range": {"start-datetime": "2025-03-27T00:00:00Z", "end-datetime": "2025-03-27T23:59:59Z"},
    "contact-info": "tls@receiver.example",
    "report-id": "t1",
    "policies": [
        {
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: testing"],
                "policy-domain": "Example.COM",
                "mx-host": "*.mail.example.com",
            },
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8:abcd::1",
                    "receiving-mx-hostname": "MX1.mail.example.com",
                    "failed-session-count": 100,
                },
                {"result-type": "starttls-not-supported", "receiving-ip": "", "failed-session-count": 203},
            ],
        }
    ],
}


def read(content):
    odd = Deviations()
    return read_tls_report(json.dumps(content).encode(), odd), odd


def test_a_report_gives_its_policies_and_failures():
    report, odd = read(REPORT)
    (policy,) = report.policies
    assert (report.org_name, report.report_id, report.domain) == ("Receiver", "t1", "example.com")
    assert (report.begin, report.end) == (parse_instant("2025-03-27T00:00:00Z"), parse_instant("2025-03-27T23:59:59Z"))
    assert (policy.successful, policy.failed, policy.mx_host) == (5326, 303, ("*.mail.example.com",))
    assert [(item.result_type, item.sessions) for item in policy.failures] == [
        ("certificate-expired", 100),
        ("starttls-not-supported", 203),
    ]
    assert policy.failures[0].sending_mta_ip == "2001:db8:abcd::1"
    assert policy.failures[1].receiving_ip is None
    assert (report.records, report.messages, report.passed) == (1, 5629, 5326)
    assert not odd


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"contact-info": None}, None),
        ({"organization-name": None}, Deviation.ORG_NAME_MISSING),
        ({"report-id": 17}, None),
        ({"policies": []}, Deviation.NO_RECORDS),
        ({"policies": [{"policy": {"policy-type": "new"}}]}, Deviation.POLICY_UNKNOWN),
        ({"policies": [{"summary": {"total-successful-session-count": "7"}}]}, Deviation.FIELD_MISSING),
        ({"policies": [None, [], 3, {"policy": []}]}, Deviation.POLICY_DOMAIN_MISSING),
        ({"date-range": None}, Deviation.PERIOD_MISSING),
    ],
)
def test_odd_shapes_are_read_and_noted(change, warning):
    report, odd = read(REPORT | change)
    assert report is not None
    assert warning is None or warning in odd


@pytest.mark.parametrize("count", [-1, 2**70, True, 1.5, None, [1]])
def test_a_count_that_is_none_counts_nothing(count):
    block = {"summary": {"total-successful-session-count": count, "total-failure-session-count": 2}}
    report, odd = read(REPORT | {"policies": [block]})
    assert report.messages == 2
    assert Deviation.FIELD_MISSING in odd


def test_the_mail_names_the_domain_where_the_report_does_not(read_one):
    data = json.dumps(REPORT | {"policies": [{"policy": {"policy-type": "sts"}}]}).encode()
    mail = b"From: a@b.example\nTLS-Report-Domain: Example.NET\nContent-Type: application/tlsrpt+json\n\n" + data
    assert read_one(mail).report.domain == "example.net"


def test_a_cut_report_is_quarantined(read_one):
    found = read_one(json.dumps(REPORT).encode()[:-20])
    assert (found.outcome, found.error.reason) == (Outcome.QUARANTINED, "damaged")


@pytest.mark.parametrize("data", [b"[1]", b"{}", b'{"policies": 3}', b"null"])
def test_other_json_is_no_report(data):
    with pytest.raises(NotAReport):
        read_tls_report(data, Deviations())


def test_deep_json_is_an_error_of_ours():
    with pytest.raises((DamagedReport, NotAReport)):
        read_tls_report(b"[" * 100_000, Deviations())


def test_a_byte_order_mark_and_utf_16_are_no_obstacle(read_one):
    text = json.dumps(REPORT)
    assert read_one(b"\xef\xbb\xbf" + text.encode()).report.messages == 5629
    assert read_one(text.encode("utf-16")).report.messages == 5629
