"""Containers: every report in whatever it comes in, and nothing of what only pretends."""

from __future__ import annotations

import base64
import gzip
import io
import random
import time
import zipfile
import zlib

import pytest

from dmarc.deviation import Deviation
from dmarc.limits import Limits
from dmarc.reports import Outcome, ReportKind
from mta.events.errors import LimitExceeded


def report_ids(found):
    return [item.report.report_id for item in found if item.outcome is not Outcome.QUARANTINED]


@pytest.fixture
def two(report):
    return report(report_id="r1"), report(report_id="r2")


class TestPacking:
    def test_gzip_and_what_is_wrong_with_it(self, read, two, gz):
        first, _ = two
        assert report_ids(read(gz(first))) == ["r1"]
        assert report_ids(read(gz(gz(first)))) == ["r1"]
        assert report_ids(read(gz(b"\xef\xbb\xbf" + first))) == ["r1"]
        assert report_ids(read(gz(first.decode().encode("utf-16")))) == ["r1"]
        assert report_ids(read(gz(first[:100]) + gz(first[100:]))) == ["r1"], "several gzip members are one stream"

    def test_bytes_after_gzip_are_noted(self, read_one, two, gz):
        found = read_one(gz(two[0]) + b"junk")
        assert (found.outcome, found.report.records) == (Outcome.OK, 1)
        assert Deviation.CONTAINER_TRAILING_BYTES in found.deviations
        assert read_one(gz(two[0]) + b"\0" * 9).outcome is Outcome.OK

    def test_a_cut_gzip_gives_what_came_out(self, read_one, report, record, gz):
        data = gz(report([record(ip=f"192.0.2.{number}", count=number) for number in range(1, 250)]))
        found = read_one(data[: len(data) // 2])
        assert found.outcome is Outcome.RECOVERED
        assert 0 < found.report.records < 249
        assert Deviation.CONTAINER_CUT in found.deviations

    def test_a_gzip_with_a_wrong_checksum_is_not_ok(self, read_one, two, gz):
        data = bytearray(gz(two[0]))
        data[-6] ^= 0xFF
        assert read_one(bytes(data)).outcome is Outcome.RECOVERED

    def test_zip_and_what_is_wrong_with_it(self, read, two, gz, zip_of):
        first, second = two
        assert report_ids(read(zip_of(("a.xml", first), ("b.xml", second)))) == ["r1", "r2"]
        assert report_ids(read(zip_of(("__MACOSX/._a.xml", b"\0\5\x16\7"), ("a.xml", first)))) == ["r1"]
        assert report_ids(read(zip_of(("README.txt", b"Hello: you"), ("a.xml", first)))) == ["r1"]
        assert report_ids(read(zip_of(("a.xml.gz", gz(first)), ("b.zip", zip_of(("b.xml", second)))))) == ["r1", "r2"]

    def test_a_zip_without_its_directory_gives_its_first_member(self, read, two, zip_of):
        data = zip_of(("a.xml", two[0]))
        (found,) = read(data[: data.index(b"PK\x01\x02")])
        assert (found.outcome, found.report.report_id) == (Outcome.RECOVERED, "r1")

    def test_a_damaged_member_does_not_cost_its_neighbour(self, read, two, zip_of):
        data = bytearray(zip_of(("a.xml", two[0]), ("b.xml", two[1])))
        data[60:70] = b"\xff" * 10
        found = read(bytes(data))
        assert {item.outcome for item in found} > {Outcome.OK} or len(found) == 2
        assert "r2" in report_ids(found)

    def test_wrong_names_and_types_do_not_matter(self, read, two, gz, zip_of, mail_of):
        first, second = two
        mail = mail_of(
            ("application/zip", "a.zip", gz(first)), ("application/octet-stream", "b.gz", zip_of(("x.xml", second)))
        )
        assert report_ids(read(mail)) == ["r1", "r2"]

    def test_bare_base64_is_seen_for_what_it_is(self, read, two, gz):
        assert report_ids(read(base64.encodebytes(gz(two[0])))) == ["r1"]

    @pytest.mark.parametrize("magic", [b"\xd0\xcf\x11\xe0", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a", b"\x28\xb5\x2f\xfd"])
    def test_what_cannot_be_opened_is_named(self, read_one, magic):
        found = read_one(magic + b"\0" * 100)
        assert (found.outcome, found.error.reason) == (Outcome.QUARANTINED, "unsupported")

    def test_a_member_without_a_name_is_read(self, read, two, zip_of):
        data = bytearray(zip_of(("a", two[0])))
        for at, field in ((data.index(b"PK\x03\x04"), 26), (data.index(b"PK\x01\x02"), 28)):
            data[at + field : at + field + 2] = b"\0\0"
        assert read(bytes(data))[0].outcome in Outcome

    def test_an_encrypted_member_is_named(self, read_one, two, zip_of):
        data = bytearray(zip_of(("a.xml", two[0])))
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
        assert read_one(bytes(data)).error.reason == "encrypted"


class TestMails:
    def test_every_report_of_a_mail_is_read(self, read, two, gz, mail_of):
        first, second = two
        found = read(mail_of(("application/gzip", "a.xml.gz", gz(first)), ("text/xml", "b.xml", second)))
        assert report_ids(found) == ["r1", "r2"]
        assert found[0].carrier.from_domain == "receiver.example"
        assert found[0].member == "a.xml.gz"

    def test_a_forwarded_mail_is_opened(self, read, two, gz, mail_of):
        inner = mail_of(("application/gzip", "a.xml.gz", gz(two[0])))
        for encoded in (inner, base64.encodebytes(inner)):
            head = (
                b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
                b"--x\r\nContent-Type: message/rfc822\r\n"
            )
            coding = b"" if encoded is inner else b"Content-Transfer-Encoding: base64\r\n"
            assert report_ids(read(head + coding + b"\r\n" + encoded + b"\r\n--x--\r\n")) == ["r1"]

    def test_a_mail_that_is_nothing_but_its_attachment(self, read, two, gz):
        mail = (
            b"From: a@b.example\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n"
            + base64.encodebytes(gz(two[0]))
        )
        assert report_ids(read(mail)) == ["r1"]

    def test_xml_in_the_text_is_read(self, read, two):
        assert report_ids(read(b"From: a@b.example\nContent-Type: text/plain\n\n" + two[0])) == ["r1"]

    def test_damaged_base64_gives_what_it_can(self, read, report, record, mail_of):
        big = report([record(count=number) for number in range(40)])
        mail = mail_of(("text/xml", "a.xml", big))
        (found,) = read(mail[:-2_000] + b"\r\n--b--\r\n")
        assert found.outcome is Outcome.RECOVERED
        assert 0 < found.report.records < 40

    def test_pictures_and_greetings_are_not_reported(self, read, two, mail_of):
        mail = mail_of(
            ("image/png", "logo.png", b"\x89PNG"), ("text/html", "x.html", b"<html><p>hi</p></html>"),
            ("application/pdf", "x.pdf", b"%PDF-1.7"), ("text/xml", "a.xml", two[0]),
        )  # fmt: skip
        assert [item.outcome for item in read(mail)] == [Outcome.OK]

    def test_a_mail_without_a_report_gives_one_refusal(self, read, mail_of):
        (found,) = read(mail_of(("image/png", "logo.png", b"\x89PNG")))
        assert (found.outcome, found.error.reason, found.kind) == (Outcome.QUARANTINED, "no-report", None)

    def test_one_bad_attachment_does_not_cost_the_other(self, read, two, gz, mail_of):
        mail = mail_of(("application/gzip", "a.gz", b"\x1f\x8b\x08garbage"), ("application/gzip", "b.gz", gz(two[1])))
        bad, good = read(mail)
        assert (bad.outcome, bad.error.reason, good.outcome) == (Outcome.QUARANTINED, "damaged", Outcome.OK)

    def test_an_mbox_gives_every_mail(self, read, two, mail_of):
        mbox = b"".join(
            b"From MAILER Mon Jan  1 00:00:00 2024\n" + mail_of(("text/xml", "a.xml", data)) + b"\n" for data in two
        )
        for size in (len(mbox), 10):
            assert report_ids(read([mbox[at : at + size] for at in range(0, len(mbox), size)])) == ["r1", "r2"]


class TestHostile:
    """Refused within a second, and the next report is read as if nothing had been."""

    @pytest.fixture(autouse=True)
    def quickly(self):
        began = time.process_time()  # not the wall's: other tests run beside this one
        yield
        assert time.process_time() - began < 1

    @pytest.mark.parametrize("layers", [1, 2])
    def test_a_gzip_bomb(self, read, layers):
        engine = zlib.compressobj(9, wbits=31)
        bomb = (
            engine.compress(b"<feedback>")
            + b"".join(engine.compress(b" " * 1_000_000) for _ in range(100))
            + engine.flush()
        )
        if layers == 2:
            bomb = gzip.compress(bomb)
        (found,) = read(bomb)
        assert isinstance(found.error, LimitExceeded)

    def test_a_bomb_of_valid_markup(self, read, report):
        start, _ = report([]).split(b"</feedback>")
        engine = zlib.compressobj(9, wbits=31)
        bomb = engine.compress(start) + b"".join(engine.compress(b"<v/>" * 250_000) for _ in range(60)) + engine.flush()
        assert isinstance(read(bomb)[0].error, LimitExceeded)

    def test_a_zip_bomb_that_lies_about_its_size(self, read, report, zip_of):
        data = bytearray(zip_of(("a.xml", b"<feedback>" + b" " * 80_000_000)))
        at = data.index(b"PK\x01\x02") + 24
        data[at : at + 4] = (1_000).to_bytes(4, "little")
        found = read(bytes(data))[0]
        assert found.outcome is Outcome.QUARANTINED

    def test_many_small_files_share_one_budget(self, read, report, record):
        report_data = report([record(ip=f"192.0.2.{n % 250}", count=random.randrange(9**9)) for n in range(300)])
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(15):
                archive.writestr(f"{number}.xml", report_data)
        found = read(out.getvalue(), limits=Limits(unpacked=len(report_data) * 3))
        assert [item.outcome for item in found].count(Outcome.OK) == 3
        assert all(isinstance(item.error, LimitExceeded) for item in found[3:])

    def test_a_zip_with_thousands_of_members(self, read, zip_of):
        (found,) = read(zip_of(*((f"{number}.xml", b"<a/>") for number in range(1_500))))
        assert isinstance(found.error, LimitExceeded)

    def test_only_the_first_members_of_a_zip_are_read_and_that_is_said(self, read, report, zip_of):
        found = read(zip_of(*((f"{n}.xml", report(report_id=f"r{n}")) for n in range(25))))
        assert len(report_ids(found)) == 20
        assert sum(isinstance(item.error, LimitExceeded) for item in found) == 1

    def test_a_russian_doll(self, read, report, gz):
        data = report()
        for _ in range(10):
            data = gz(data)
        assert isinstance(read(data)[0].error, LimitExceeded)

    def test_mails_nested_three_hundred_deep(self, read, two, mail_of):
        mail = b"Content-Type: text/plain\n\nend"
        multi = b"Content-Type: text/plain\n\nend"
        for number in range(300):
            mail = b"From: a@b.example\nContent-Type: message/rfc822\n\n" + mail
            multi = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n%s\n--b%d--\n" % (
                number,
                number,
                multi,
                number,
            )
        for hostile in (mail, multi):
            (found,) = read(hostile)
            assert found.outcome is Outcome.QUARANTINED
        assert report_ids(read(mail_of(("text/xml", "a.xml", two[0])))) == ["r1"]

    def test_paths_in_zips_are_only_text(self, read_one, two, zip_of):
        name = "../../../etc/cron.d/x\x1b[31m\u202e.xml"
        found = read_one(zip_of((name, two[0])))
        assert found.outcome is Outcome.OK
        assert "\x1b" not in found.member
        assert "\u202e" not in found.member

    def test_thousands_of_attachments(self, read, mail_of):
        found = read(mail_of(*(("application/octet-stream", "x", b"\x1f\x8b") for _ in range(400))))
        assert any(isinstance(item.error, LimitExceeded) for item in found)

    def test_an_oversized_mail_in_an_mbox_costs_only_itself(self, read, two, mail_of):
        big = b"From x\nFrom: a@b.example\n\n" + b"x" * 3_000_000 + b"\n\n"
        mbox = big + b"From y\n" + mail_of(("text/xml", "a.xml", two[0]))
        limits = Limits()
        limits = Limits(mail=type(limits.mail)(size=1_000_000))
        found = read([mbox[at : at + 65_536] for at in range(0, len(mbox), 65_536)], limits=limits)
        assert isinstance(found[0].error, LimitExceeded)
        assert report_ids(found) == ["r1"]


def test_a_tls_report_in_a_mail_is_found(read_one, mail_of, gz):
    data = b'{"organization-name": "r", "policies": []}'
    found = read_one(mail_of(("application/tlsrpt+gzip", "a.json.gz", gz(data))))
    assert found.kind is ReportKind.TLS
