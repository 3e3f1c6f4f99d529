"""A real DNS server on loopback."""

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest


class DnsServer(asyncio.DatagramProtocol):
    """Answers from `zone`: {(name, type): [values]}, with NXDOMAIN for names that are not there at all, and with
    `failing` names refused as SERVFAIL. Counts what it is asked.
    """

    def __init__(self):
        self.zone = {}
        self.failing = set()
        self.ttl = 300
        self.asked = []

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, addr):
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
        self.asked.append((name, kind))
        answer = dns.message.make_response(query, recursion_available=True)
        values = self.zone.get((name, kind))
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif values:
            answer.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *values))
        elif not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def dns_server():
    """A running server with an empty zone."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=("127.0.0.1", 0))
    yield server
    transport.close()
