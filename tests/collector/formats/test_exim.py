"""Exim's own promises beyond those of every dialect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.formats.context import Context
from collector.formats.registry import open_parser

KEY = "2026-11-04 13:35:23 1t8Kxy-000000-0a"
HOSTS = st.sampled_from(
    [
        "mx.example [192.0.2.26]",
        "mx.example DS [192.0.2.26]:25",
        "mx.example (helo.example) [2001:db8::1]:587*",
        "mx.example [not-an-address]",
        "unknown [192.0.2.26]",
    ]
)
DELIVERED = (
    st.sampled_from(["a@b.example", "A.b+c@[192.0.2.1]", "x@y.example <alias@z.example>", '"a b"@c.example']),
    st.sampled_from(["", " F=<s@t.example>", " F=<>"]),
    st.sampled_from(["", " R=dnslookup", " R=router.2"]),
    st.sampled_from(["", " T=remote_smtp"]),
    st.sampled_from(["", " S=5360"]),
    st.builds(" H={}".format, HOSTS),
    st.sampled_from(["", " I=[192.0.2.10]:40112", " I=[2001:db8::2]"]),
    st.sampled_from(["", " X=TLS1.3:TLS_AES_256_GCM_SHA384:256", " X=TLSv1.2:AES:256", " X=odd"]),
    st.sampled_from(["", " CV=yes", " CV=dane"]),
    st.sampled_from(["", ' DN="/CN=mx.example"']),
    st.sampled_from(["", " K"]),
    st.sampled_from(["", ' C="250 2.0.0 OK 1 - gsmtp"', ' C="250-one\\n250 two"', ' C="250 \\"quoted\\""', ' C=""']),
    st.sampled_from(["", " QT=1.9s", " QT=2d3h", " QT=never"]),
    st.sampled_from(["", " DT=1.2s"]),
)
ARRIVED = (
    st.sampled_from(["<>", "s@t.example", '"a b"@c.example']),
    st.builds(" H={}".format, HOSTS),
    st.sampled_from(["", " I=[192.0.2.10]:25"]),
    st.sampled_from(["", " U=app"]),
    st.sampled_from(["", " P=esmtps"]),
    st.sampled_from(["", " X=TLS1.3:TLS_AES_256_GCM_SHA384:256"]),
    st.sampled_from(["", " CV=no"]),
    st.sampled_from(["", " A=plain:user"]),
    st.sampled_from(["", " S=99"]),
    st.sampled_from(["", " RT=0.1s"]),
    st.sampled_from(["", " id=n.1@t.example"]),
    st.sampled_from(["", " for a@b.example c@d.example"]),
)


def parsed(line: str):
    return open_parser("exim", Context("here"))(line.encode())


@given(st.tuples(*DELIVERED).map("".join), st.sampled_from(["=>", "->", ">>", "*>"]))
def test_a_delivery_of_the_usual_kind_reads_as_one_with_a_field_that_nobody_knows(fields, flag):
    line = f"{KEY} {flag} {fields}"
    assert parsed(line) == parsed(f"{line} ZZ=1")


@given(st.tuples(*ARRIVED).map("".join))
def test_an_arrival_of_the_usual_kind_reads_as_one_with_a_field_that_nobody_knows(fields):
    line = f"{KEY} <= {fields}"
    before, mark, recipients = line.partition(" for ")
    assert parsed(line) == parsed(f"{before} ZZ=1{mark}{recipients}")


@pytest.mark.parametrize("mark", ["", " DS"])
def test_a_host_whose_address_dnssec_vouched_for_is_still_that_host(mark):
    [event] = parsed(f'{KEY} => a@b.example R=r T=t H=mx.example{mark} [192.0.2.26] C="250 OK"')
    assert (event.peer_host, event.peer_ip, event.direction) == ("mx.example", "192.0.2.26", "outbound")
