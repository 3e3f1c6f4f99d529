"""Aggregate reports: every record and every message, however odd the report is."""

from __future__ import annotations

import pytest

from dmarc.deviation import Deviation
from dmarc.limits import Limits
from dmarc.reports import Disposition, Outcome, Result
from mta.events.errors import LimitExceeded
from mta.events.instants import SECOND, parse_instant


def test_a_plain_report_gives_its_frame_and_its_records(read_one, report, record):
    found = read_one(report([record(count=3), record(ip="2001:DB8::1", count=4)]))
    assert (found.report.org_name, found.report.report_id, found.report.domain) == (
        "receiver.example",
        "r1",
        "example.com",
    )
    assert found.report.policy.p == "reject"
    assert found.report.policy.sp is None
    assert (found.report.records, found.report.messages, found.report.passed) == (2, 7, 7)
    assert [item.source_ip for item in found.records] == ["192.0.2.1", "2001:db8::1"]
    first = found.records[0]
    assert (first.disposition, first.dkim_aligned, first.spf_aligned) == (Disposition.NONE, True, False)
    assert [(auth.kind, auth.selector, auth.scope, auth.result) for auth in first.auth] == [
        ("dkim", "s1", None, Result.PASS),
        ("spf", None, "mfrom", Result.FAIL),
    ]


def test_a_report_of_rfc_9990_keeps_what_is_new_in_it(read_one):
    data = b"""<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0" xmlns:v="urn:vendor">
      <report_metadata><org_name>r</org_name><report_id>x@r</report_id><date_range><begin>1</begin><end>2</end></date_range>
        <error>one</error><error lang="de">zwei</error><generator>G 1</generator></report_metadata>
      <policy_published><domain>example.org</domain><discovery_method>treewalk</discovery_method><p>quarantine</p>
        <np>reject</np><testing>y</testing></policy_published>
      <extension><v:count>99</v:count></extension>
      <record><row><source_ip>192.0.2.9</source_ip><count>5</count><policy_evaluated><disposition>pass</disposition>
        <dkim>fail</dkim><spf>pass</spf><reason><type>policy_test_mode</type><comment>c</comment></reason>
        </policy_evaluated><v:count>77</v:count></row>
        <identifiers><header_from>a.example.org</header_from><envelope_from/></identifiers>
        <auth_results/><v:source>platform</v:source></record></feedback>"""
    found = read_one(data)
    policy, item = found.report.policy, found.records[0]
    assert (policy.np, policy.testing, policy.discovery_method) == ("reject", True, "treewalk")
    assert (found.report.errors, found.report.generator) == (("one", "zwei"), "G 1")
    assert found.report.namespace == "urn:ietf:params:xml:ns:dmarc-2.0"
    assert found.report.extensions == (("v:count", "99"),)
    assert (item.messages, item.disposition, item.disposition.delivered) == (5, Disposition.PASS, True)
    assert item.overrides == (("policy_test_mode", "c"),)
    assert item.envelope_from == ""
    assert item.extensions == (("v:count", "77"), ("v:source", "platform"))


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda data: b"\xef\xbb\xbf" + data, Deviation.BYTE_ORDER_MARK),
        (lambda data: data.decode().encode("utf-16"), Deviation.BYTE_ORDER_MARK),
        (lambda data: data.replace(b'"1.0"?>', b'"1.0" encoding="UTF-16"?>').decode().encode("utf-16-le"), None),
        (lambda data: b"\r\n \n" + data, Deviation.BLANK_BEFORE_XML),
        (lambda data: data.replace(b"<version>1.0</version>", b""), None),
        (lambda data: data.replace(b"1.0</version>", b"0.1</version>"), Deviation.VERSION_UNKNOWN),
        (lambda data: data.replace(b"<feedback>", b'<feedback xmlns="http//x">'), Deviation.NAMESPACE_UNKNOWN),
        (lambda data: data.replace(b"</", b"</d:").replace(b"<", b"<d:").replace(b"<d:/d", b"</d")
         .replace(b"<d:?", b"<?"), None),
        (lambda data: data.replace(b"identifiers>", b"identities>"), Deviation.IDENTITIES),
        (lambda data: data.replace(b"<dkim>pass", b"<dkim> Pass "), Deviation.LETTER_CASE),
        (lambda data: data.replace(b"<spf>fail", b"<spf>softfail"), Deviation.RESULT_UNKNOWN),
        (lambda data: data.replace(b"<result>fail", b"<result>hardfail"), Deviation.RESULT_UNKNOWN),
        (lambda data: data.replace(b"<result>pass</result>", b"<result/>"), Deviation.RESULT_EMPTY),
        (lambda data: data.replace(b"<scope>mfrom</scope>", b""), Deviation.SPF_SCOPE_MISSING),
        (lambda data: data.replace(b"<selector>s1</selector>", b""), Deviation.DKIM_SELECTOR_MISSING),
        (lambda data: data.replace(b"192.0.2.1", b"192.000.002.001"), Deviation.SOURCE_IP_FORM),
        (lambda data: data.replace(b"192.0.2.1", b"::ffff:192.0.2.1"), Deviation.SOURCE_IP_FORM),
        (lambda data: data.replace(b"192.0.2.1", b" 192.0.2.1\n"), None),
        (lambda data: data.replace(b"192.0.2.1", b"[192.0.2.1]"), Deviation.SOURCE_IP_FORM),
        (lambda data: data.replace(b"192.0.2.1", b"IPv6:::ffff:192.0.2.1"), Deviation.SOURCE_IP_FORM),
        (lambda data: data.replace(b"192.0.2.1", b"192.0.2.1/32"), Deviation.SOURCE_IP_FORM),
        (lambda data: data.replace(b"<record>", b"<records><record>").replace(b"</feedback>", b"</records></feedback>"),
         None),
        (lambda data: data.replace(b"<record>", b'<record id="1">'), None),
        (lambda data: data.replace(b"<record>", b"<Record>").replace(b"</record>", b"</Record>"), None),
        (lambda data: data.replace(b"<row>", b"<!-- the first --><row>"), None),
        (lambda data: data.replace(b"<count>1<", b"<count><![CDATA[1]]><"), None),
        (lambda data: data.replace(b"><", b">\r\n  <"), None),
        (lambda data: data.replace(b'1.0"?>', b"1.0' standalone='yes'?>").replace(b'version="', b"version='"), None),
        (lambda data: data.replace(b"receiver.example", "Prüfung \U0001f600".encode()), None),
        (lambda data: data.replace(b"<feedback>", b"<s:Body xmlns:s='x'><feedback>") + b"</s:Body>", None),
        (lambda data: data.replace(b"<org_name>receiver.example</org_name>", b""), Deviation.ORG_NAME_MISSING),
        (lambda data: data.replace(b"<p>reject</p>", b""), Deviation.POLICY_UNKNOWN),
        (lambda data: data + b"\0\0junk", Deviation.CONTAINER_TRAILING_BYTES),
    ],
)  # fmt: skip
def test_a_deviation_costs_no_record(read_one, report, change, warning):
    found = read_one(change(report()))
    assert (found.outcome, found.report.records, found.report.messages) == (Outcome.OK, 1, 1), found.error
    assert found.records[0].source_ip == "192.0.2.1"
    assert warning is None or warning in found.deviations


def test_a_declared_eight_bit_encoding_is_obeyed(read_one, report):
    data = report(org="Grüße", prolog='<?xml version="1.0" encoding="windows-1252"?>').decode().encode("cp1252")
    assert read_one(data).report.org_name == "Grüße"


@pytest.mark.parametrize("missing", ["policy_evaluated", "auth_results", "spf", "identifiers"])
def test_a_missing_group_leaves_none_and_costs_no_record(read_one, report, missing):
    data = report()
    start, end = data.index(f"<{missing}>".encode()), data.rindex(f"</{missing}>".encode()) + len(missing) + 3
    found = read_one(data[:start] + data[end:]) if missing != "spf" else read_one(data.replace(b"<spf>fail</spf>", b""))
    assert (found.outcome, found.report.messages) == (Outcome.OK, 1)


def test_what_was_not_sent_is_not_assumed(read_one):
    data = (
        b"<feedback><report_metadata><org_name>r</org_name></report_metadata>"
        b"<record><row><count>1</count></row></record></feedback>"
    )
    found = read_one(data)
    policy, item = found.report.policy, found.records[0]
    assert (policy.domain, policy.p, policy.sp, policy.adkim, policy.pct, policy.testing) == (None,) * 6
    assert (item.source_ip, item.disposition, item.dkim_aligned, item.header_from, item.envelope_from) == (None,) * 5
    assert (found.report.begin, found.report.end) == (None, None)


@pytest.mark.parametrize("count", ["-5", "", "many", "1e3", "99999999999999999999", "٣"])
def test_a_record_whose_count_is_none_is_refused_alone(read_one, report, record, count):
    found = read_one(report([record(count=2), record(count=count), record(count=3)]))
    assert (found.outcome, found.report.records, found.report.messages) == (Outcome.RECOVERED, 2, 5)
    assert [item.ordinal for item in found.records] == [0, 2]
    assert found.deviations[Deviation.RECORD_REFUSED] == 1


def test_a_null_record_and_an_empty_address_are_kept(read_one, report, record):
    found = read_one(report([record(ip="", count=0), record(ip="", count=2), record(ip="bogus")]))
    assert (found.outcome, found.report.records, found.report.messages) == (Outcome.OK, 3, 3)
    assert [item.source_ip for item in found.records] == [None, None, None]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("1700006400", "1700092799"),
        ("1700006400000", "1700092799000"),
        (" 1700006400.0", "1700092799 "),
        ("2023-11-15T00:00:00Z", "2023-11-15T23:59:59+00:00"),
        ("2023-11-15T00:00:00", "2023-11-15 23:59:59"),
        ("2023-11-15", "2023-11-15 23:59:59 UTC"),
        ("Wed, 15 Nov 2023 00:00:00 +0000", "Thu, 16 Nov 2023 00:59:59 +0100"),
        ("1700006400.25", "1700092799.999"),
        ("1700092799", "1700006400"),
    ],
)
def test_times_are_understood_in_every_shape(read_one, report, begin, end):
    found = read_one(report(begin=begin, end=end))
    assert (found.report.begin, found.report.end) == (1_700_006_400 * SECOND, 1_700_092_799 * SECOND)


def test_a_report_about_the_future_is_quarantined(read_one, report):
    found = read_one(report(), now=parse_instant("2023-11-01T00:00:00Z"))
    assert (found.outcome, found.error.reason) == (Outcome.QUARANTINED, "future-period")


def test_a_report_without_records_is_a_report(read_one, report):
    found = read_one(report([]))
    assert (found.outcome, found.report.records) == (Outcome.OK, 0)
    assert Deviation.NO_RECORDS in found.deviations


def test_many_results_and_long_texts_are_cut_not_refused(read_one, report, record):
    dkim = "<dkim><domain>example.com</domain><result>pass</result></dkim>" * 150
    data = report([record(auth=dkim), record(auth=f"<dkim><human_result>{'x' * 9_000}</human_result></dkim>")])
    found = read_one(data)
    assert len(found.records[0].auth) == 110
    assert len(found.records[1].auth[0].human_result) == 4_096
    assert {Deviation.TOO_MANY_RESULTS, Deviation.TEXT_CUT} <= set(found.deviations)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_any_splitting_of_the_bytes_gives_the_same_report(read, report, record, size):
    data = report([record(count=number) for number in range(5)])
    whole = read(data)[0]
    split = read([data[at : at + size] for at in range(0, len(data), size)])[0]
    assert (split.report, split.records, split.content_hash) == (whole.report, whole.records, whole.content_hash)


class TestDamage:
    """What is whole survives; that something was lost is said."""

    def test_a_cut_report_gives_its_whole_records(self, read_one, report, record):
        data = report([record(count=number) for number in (1, 2, 4)])
        found = read_one(data[: data.rindex(b"<identifiers>")])
        assert (found.outcome, found.report.records, found.report.messages) == (Outcome.RECOVERED, 2, 3)
        assert {Deviation.XML_CUT, Deviation.RECORD_DAMAGED} <= set(found.deviations)

    def test_every_cut_is_either_recovered_or_quarantined(self, read_one, report, record):
        data = report([record(count=1), record(count=1)]).rstrip()
        for cut in range(0, len(data), 7):
            found = read_one(data[:cut])
            assert found.outcome in (Outcome.RECOVERED, Outcome.QUARANTINED), cut
            assert len(found.records) == data[:cut].count(b"</record>")

    def test_a_broken_record_in_the_middle_is_lost_alone(self, read_one, report, record):
        broken = record(count=50).replace("</row>", "")
        found = read_one(report([record(count=1), broken, record(count=2), record(count=4)]))
        assert (found.outcome, found.report.records, found.report.messages) == (Outcome.RECOVERED, 3, 7)
        assert found.deviations[Deviation.RECORD_DAMAGED] == 1

    def test_a_record_that_never_ends_does_not_swallow_the_next(self, read_one, report, record):
        broken = record(count=50).replace("</record>", "")
        assert read_one(report([broken, record(count=2)])).report.messages == 2

    @pytest.mark.parametrize("bad", ["a & b", "a\x91b", "a < b", "a\x00b", "&undeclared;", "a&#x1;b", "a&#1114112;b"])
    def test_text_that_is_no_xml_is_repaired(self, read_one, report, record, bad):
        data = report([record(count=1), record(count=2, extra=f"<note>{bad}</note>"), record(count=4)], org=bad)
        found = read_one(data.decode().encode("latin-1"))
        assert (found.outcome, found.report.records, found.report.messages) == (Outcome.RECOVERED, 3, 7)
        assert (found.report.report_id, found.report.domain) == ("r1", "example.com")

    def test_a_stray_schema_tag_loses_nothing(self, read_one, report):
        data = report().replace(b"<feedback>", b'<xs:schema xmlns:xs="x"><feedback>')
        found = read_one(data)
        assert (found.outcome, found.report.records) == (Outcome.RECOVERED, 1)

    def test_a_report_without_one_whole_record_names_itself(self, read_one, report):
        data = report()
        found = read_one(data[: data.index(b"<count>")])
        assert (found.outcome, found.error.reason) == (Outcome.QUARANTINED, "damaged")
        assert found.report.org_name == "receiver.example"

    @pytest.mark.parametrize("data", [b"", b" \n", b"unused", b"<html><body>no</body></html>", b"<a/>", b"\0" * 5_000])
    def test_what_is_no_report_is_quarantined(self, read_one, data):
        found = read_one(data)
        assert found.outcome is Outcome.QUARANTINED
        assert found.error.reason in ("no-report", "empty")


class TestHostile:
    """Refused or inert, at once."""

    @pytest.mark.timeout(5)
    @pytest.mark.parametrize(
        "doctype",
        [
            '<!DOCTYPE feedback [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
            '<!DOCTYPE feedback [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE feedback SYSTEM "http://192.0.2.1/x.dtd">',
            "<!DOCTYPE feedback [<!ATTLIST record a CDATA 'x'>]>",
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_a_document_type_is_refused(self, read_one, report, doctype, encoding):
        data = report(prolog='<?xml version="1.0"?>' + doctype, org="&x;")
        found = read_one(data.decode().encode(encoding))
        assert (found.outcome, found.error.reason) == (Outcome.QUARANTINED, "doctype")
        assert not found.records

    def test_a_document_type_behind_broken_markup_has_no_effect(self, read_one, report):
        data = report(prolog='<x/><!DOCTYPE feedback [<!ENTITY x "boo">]>', org="&x;")
        found = read_one(data)
        assert found.outcome is not Outcome.OK
        assert found.report is None or "boo" not in (found.report.org_name or "")

    def test_deep_nesting_is_refused(self, read_one, report):
        found = read_one(report([], attributes="><x" + "><x" * 5_000))
        assert isinstance(found.error, LimitExceeded)

    def test_a_giant_tag_or_comment_is_refused(self, read_one, report):
        for giant in ("<!--" + "x" * 3_000_000 + "-->", f'<v a="{"x" * 3_000_000}"/>', "x" * 3_000_000):
            found = read_one(report([giant]))
            assert isinstance(found.error, LimitExceeded), giant[:10]

    def test_the_number_of_records_is_bounded(self, read_one, report, record):
        found = read_one(report([record()] * 11), limits=Limits(records=10))
        assert isinstance(found.error, LimitExceeded)

    def test_markup_in_values_stays_text(self, read_one, report):
        found = read_one(report(org="&lt;script&gt;alert(1)&lt;/script&gt;", report_id="=cmd|x"))
        assert (found.report.org_name, found.report.report_id) == ("<script>alert(1)</script>", "=cmd|x")
