"""What is read from a header, and what is written before it."""

from hypothesis import given
from hypothesis import strategies as st

from mta.control.record import Hop, Tls
from mta.smtp.headers import line_ends_are_clean, read_header, received_field


def test_the_wanted_fields_are_found_in_any_case_and_unfolded():
    facts = read_header(
        b"received: by a\r\nReceived: by b\r\nMESSAGE-ID:\r\n <a@b.example>\r\nx-tenant: acme\r\nX-Campaign:june\r\n"
        b"X-Pool:  bulk \r\n\r\nX-Tenant: not this\r\nReceived: nor this\r\n"
    )
    assert (facts.message_id, facts.tenant, facts.campaign, facts.pool) == ("<a@b.example>", "acme", "june", "bulk")
    assert facts.hops == 2


def test_of_repeated_fields_the_first_counts_and_missing_ones_are_none():
    facts = read_header(b"X-Tenant: one\r\nX-Tenant: two\r\nX-Pool:\r\n\r\n")
    assert (facts.tenant, facts.pool, facts.message_id) == ("one", None, None)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(content):
    facts = read_header(content)
    assert facts.hops >= 0


def test_bare_line_ends_are_found():
    assert line_ends_are_clean(b"a\r\nb\r\n")
    assert not any(line_ends_are_clean(text) for text in (b"a\nb", b"a\rb", b"\n.\r\n", b"a\r", b"\r\r\n"))


def test_the_trace_field_names_client_host_protocol_and_id():
    client = Hop("mail.example.org", "192.0.2.7", tls=Tls("TLSv1.3", "X"))
    assert received_field(client, "mx.example.com", "abc", 0, "ESMTPS") == (
        b"Received: from mail.example.org ([192.0.2.7])\r\n\tby mx.example.com with ESMTPS id abc;\r\n"
        b"\tThu, 01 Jan 1970 00:00:00 -0000\r\n"
    )


def test_a_hostile_client_name_cannot_write_a_header_of_its_own():
    field = received_field(Hop("x\r\nX-Pool: y" + "z" * 5000, "192.0.2.7"), "h", "abc", 0, "UTF8SMTP")
    assert field.count(b"\r\n") == 3
    assert b"with UTF8SMTP id" in field
    assert len(field) < 500
