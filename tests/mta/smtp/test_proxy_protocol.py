"""What a load balancer says of its clients is read as HAProxy writes it, and believed of those that are trusted."""

import asyncio
import ssl
import struct
from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.proxy_protocol import LONGEST, ProxyHeader, read_header

NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]
LOOPBACK = [ip_network("127.0.0.0/8")]
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"


def v2(source, command=0x21, extra=b""):
    packed = ip_address(source).packed
    family = 0x11 if len(packed) == 4 else 0x21
    body = packed + packed + struct.pack("!HH", 1, 25) + extra
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack("!H", len(body)) + body


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 25\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", ""),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""),
        (v2("192.0.2.7"), "192.0.2.7"),
        (v2("2001:db8::1", extra=b"\x04\x00\x02ab"), "2001:db8::1"),
        (v2("192.0.2.7", command=0x20), ""),
    ],
)
def test_a_header_names_the_client_and_takes_its_own_bytes_only(header, client):
    assert read_header(header + b"EHLO x\r\n") == ProxyHeader(len(header), client)
    assert [read_header(header[:end]) for end in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO x\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 25\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n",
        b"PROXY" + b" x" * 80,
        v2("192.0.2.7", command=0x22),
        v2("192.0.2.7")[:14] + b"\0\4abcd",
    ],
)
def test_what_is_no_header_is_refused(header):
    with pytest.raises(ValueError, match=r"."):
        read_header(header)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=80).map(lambda end: b"\r\n\r\n\0\r\nQUIT\n" + end)))
def test_any_bytes_are_a_header_or_refused_or_too_few(data):
    try:
        found = read_header(data)
    except ValueError:
        return
    assert found is None or 0 < found.size <= min(len(data), LONGEST)


async def first_reception(worker, said, context=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write(said)
    await writer.drain()
    if context:
        await writer.start_tls(context, server_hostname="localhost")
    writer.write(b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\nBDAT 3 LAST\r\nx\r\nQUIT\r\n")
    answers = b""
    with suppress(ConnectionResetError):
        answers = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answers.decode()


@pytest.mark.parametrize("header", [V1, v2("192.0.2.7")])
async def test_behind_a_trusted_balancer_the_client_is_who_the_header_says(start_worker, header):
    worker = await start_worker(routes=NOWHERE, proxy_networks=LOOPBACK, relay_networks=[ip_network("192.0.2.0/24")])
    assert "250 2.0.0 OK ids=" in await first_reception(worker, header)
    (record,) = await worker.until_type("Reception")
    assert record["peer_address"] == {"name": "c", "addr": "192.0.2.7"}


async def test_behind_a_balancer_strangers_do_not_relay(start_worker):
    worker = await start_worker(routes=NOWHERE, proxy_networks=LOOPBACK)
    assert "550 5.7.1 Relaying denied" in await first_reception(worker, V1)
    assert "OK ids=" in await first_reception(worker, b"PROXY UNKNOWN\r\n")


async def test_a_balancer_that_sends_no_header_is_dropped_before_the_greeting(start_worker):
    worker = await start_worker(routes=NOWHERE, proxy_networks=LOOPBACK)
    assert await first_reception(worker, b"") == ""


async def test_a_stranger_cannot_name_another_client(start_worker):
    worker = await start_worker(routes=NOWHERE, proxy_networks=[ip_network("192.0.2.0/24")], relay_networks=LOOPBACK)
    answers = await first_reception(worker, V1)
    assert answers.startswith("220 ")
    assert "500 5.5.2" in answers
    (record,) = await worker.until_type("Reception")
    assert record["peer_address"]["addr"] == "127.0.0.1"


async def test_tls_from_the_first_byte_comes_after_the_header(start_worker, tmp_path, make_certificate):
    certificate, key = make_certificate(tmp_path)
    users = tmp_path / "users"
    users.write_text("")
    worker = await start_worker(
        routes=NOWHERE,
        proxy_networks=LOOPBACK,
        tls_certificate=certificate,
        tls_key=key,
        users=users,
        listen=(),
        listen_tls=(("127.0.0.1", 0),),
    )
    ((port,),) = [[port for _, port in ports] for ports in worker.worker.doors.values()]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(v2("192.0.2.7"))
    await writer.start_tls(ssl.create_default_context(cafile=str(certificate)), server_hostname="localhost")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"220 ")
    writer.close()
