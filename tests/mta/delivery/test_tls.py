"""TLS as the shaping file, a route, an MTA-STS policy or DANE wants it: servers with good and bad certificates."""

import asyncio
from hashlib import sha256

import pytest
from aiosmtpd.smtp import AuthResult
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mta.delivery.certificate import has_name

HOST = "mx.peer.example"


@pytest.fixture
def world(start_worker, peer, dns_server, tmp_path):
    """Starts a worker that finds a peer by MX, with that TLS context, and a shaping file."""

    async def start(context, shaping="", **settings):
        there = await peer({"tls_context": context} if context else {})
        dns_server.zone |= {("example.com", "MX"): [f"10 {HOST}."], (HOST, "A"): ["127.0.0.1"]}
        (tmp_path / "shaping.toml").write_text(shaping)
        dns = {"nameservers": ["127.0.0.1"], "nameserver_port": dns_server.port, "smtp_port": there.port}
        worker = await start_worker(
            **dns, prohibited_networks=[], shaping=tmp_path / "shaping.toml", retry_interval=5.0, **settings
        )
        return worker, there

    return start


def tlsa(certificate, usage, selector=1):
    """A record that names a certificate by the SHA-256 of its key, or of the whole."""
    whole = certificate.public_bytes(Encoding.DER)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{usage} {selector} 1 {sha256(key if selector else whole).hexdigest()}"


async def deliver(worker, kind="Delivery"):
    await worker.send()
    (record,) = await worker.until_type(kind)
    return record


def counted(worker, policy, result):
    line = f'mtascope_mta_tls_policy_sessions_total{{policy="{policy}",result="{result}"}} '
    return float(worker.worker.metrics.exposition().decode().partition(line)[2].partition("\n")[0])


@pytest.mark.parametrize(
    ("host", "known", "holds"), [(HOST, True, True), ("else.example", True, False), (HOST, False, False)]
)
async def test_opportunistic_tls_notes_whether_the_certificate_would_have_held(world, authority, host, known, holds):
    worker, _ = await world(authority.issue(host)[1], tls_authorities=authority.file if known else None)
    record = await deliver(worker)
    assert record["meta"]["mtascope_tls_verified"] is holds
    assert "mtascope_tls_policy" not in record["meta"]


REQUIRED = '["default"]\nenable_tls = "Required"\n'


async def test_required_tls_takes_a_good_certificate(world, authority):
    worker, _ = await world(authority.issue(HOST)[1], REQUIRED, tls_authorities=authority.file)
    record = await deliver(worker)
    assert record["meta"] == {**record["meta"], "mtascope_tls_verified": True, "mtascope_tls_policy": "shaping"}
    assert counted(worker, "shaping", "success") == 1


@pytest.mark.parametrize(
    ("host", "days", "failure"),
    [
        (None, 1, "starttls-not-supported"),
        ("else.example", 1, "certificate-host-mismatch"),
        (HOST, -1, "certificate-expired"),
    ],
)
async def test_required_tls_rather_waits_than_goes_without(world, authority, host, days, failure):
    context = authority.issue(host, days)[1] if host else None
    worker, there = await world(context, REQUIRED, tls_authorities=authority.file)
    record = await deliver(worker, "TransientFailure")
    assert failure in record["response"]["content"]
    assert record["response"]["enhanced_code"] == {"class": 4, "subject": 7, "detail": 10}
    assert there.mails == []
    assert counted(worker, "shaping", failure) == 1


async def test_required_but_insecure_tls_takes_any_certificate_and_nothing_in_clear(world, authority):
    shaping = REQUIRED.replace("Required", "RequiredInsecure")
    worker, _ = await world(authority.issue("else.example")[1], shaping)
    assert (await deliver(worker))["tls_protocol_version"]
    await worker.worker.stop()
    worker, there = await world(None, shaping)
    await deliver(worker, "TransientFailure")
    assert there.mails == []


# DANE


@pytest.mark.parametrize(("usage", "selector"), [(3, 1), (3, 0), (2, 1), (2, 0)])
async def test_dane_takes_the_certificate_that_dns_names_and_no_other(world, authority, dns_server, usage, selector):
    own, context = authority.issue(HOST)
    named = own if usage == 3 else authority.certificate
    stranger, _ = authority.issue("stranger.example")
    dns_server.secure = True
    worker, there = await world(context, dnssec=True)
    dns_server.zone[f"_{there.port}._tcp.{HOST}", "TLSA"] = [tlsa(named, usage, selector)]
    record = await deliver(worker)
    assert record["meta"] == {**record["meta"], "mtascope_tls_verified": True, "mtascope_tls_policy": "dane"}
    await worker.worker.stop()
    worker, there = await world(context, dnssec=True)
    dns_server.zone[f"_{there.port}._tcp.{HOST}", "TLSA"] = [tlsa(stranger, usage, selector)]
    assert "dane wants TLS: validation-failure" in (await deliver(worker, "TransientFailure"))["response"]["content"]
    assert there.mails == []


async def test_a_trust_anchor_vouches_only_for_a_certificate_with_the_hosts_name(world, authority, dns_server):
    dns_server.secure = True
    worker, there = await world(authority.issue("else.example")[1], dnssec=True)
    dns_server.zone[f"_{there.port}._tcp.{HOST}", "TLSA"] = [tlsa(authority.certificate, 2)]
    await deliver(worker, "TransientFailure")
    assert there.mails == []


@pytest.mark.parametrize(("secure", "dnssec"), [(False, True), (True, False)])
async def test_tlsa_records_that_nobody_vouches_for_mean_nothing(world, authority, dns_server, secure, dnssec):
    stranger, _ = authority.issue("stranger.example")
    dns_server.secure = secure
    worker, there = await world(authority.issue(HOST)[1], dnssec=dnssec)
    dns_server.zone[f"_{there.port}._tcp.{HOST}", "TLSA"] = [tlsa(stranger, 3)]
    assert (await deliver(worker))["tls_protocol_version"]


async def test_tlsa_records_of_no_use_still_want_encryption(world, dns_server):
    dns_server.secure = True
    worker, there = await world(None, dnssec=True)
    dns_server.zone[f"_{there.port}._tcp.{HOST}", "TLSA"] = [f"1 1 1 {'00' * 32}"]
    assert "starttls-not-supported" in (await deliver(worker, "TransientFailure"))["response"]["content"]


async def test_a_dns_server_that_hides_tlsa_records_defers(world, authority, dns_server):
    dns_server.secure = True
    worker, there = await world(authority.issue(HOST)[1], dnssec=True)
    dns_server.failing.add(f"_{there.port}._tcp.{HOST}")
    assert "DNS" in (await deliver(worker, "TransientFailure"))["response"]["content"]


# MTA-STS


@pytest.fixture
async def policy_host(authority, dns_server):
    """A web server with the policy of example.com; `text` is what it says, `status` how."""

    class Web:
        text = f"version: STSv1\r\nmode: enforce\r\nmx: {HOST}\r\nmax_age: 604800\r\n"
        status = "200 OK"
        asked = 0

        async def serve(self, reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.text)}\r\n\r\n{self.text}".encode())
            writer.close()

        async def start(self, name="mta-sts.example.com"):
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=authority.issue(name)[1])
            self.port = self.server.sockets[0].getsockname()[1]
            dns_server.zone |= {
                ("_mta-sts.example.com", "TXT"): ['"v=STSv1; id=20260101;"'],
                ("mta-sts.example.com", "A"): ["127.0.0.1"],
            }
            return {"mta_sts": True, "mta_sts_port": self.port, "tls_authorities": authority.file}

    web = Web()
    yield web
    web.server.close()


async def test_an_enforced_policy_takes_the_named_host_with_a_good_certificate(world, authority, policy_host):
    worker, _ = await world(authority.issue(HOST)[1], **await policy_host.start())
    record = await deliver(worker)
    assert record["meta"] == {**record["meta"], "mtascope_tls_verified": True, "mtascope_tls_policy": "sts"}
    await worker.worker.stop()
    policy_host.server.close()
    worker, there = await world(None, mta_sts=True, mta_sts_port=1, tls_authorities=authority.file)
    assert "sts wants TLS" in (await deliver(worker, "TransientFailure"))["response"]["content"], "it was kept"
    assert there.mails == []


async def test_an_enforced_policy_refuses_hosts_that_it_does_not_name(world, authority, policy_host):
    policy_host.text = policy_host.text.replace(HOST, "*.else.example")
    worker, there = await world(authority.issue(HOST)[1], **await policy_host.start())
    record = await deliver(worker, "TransientFailure")
    assert "none of the mail hosts of example.com is in its MTA-STS policy" in record["response"]["content"]
    assert there.mails == []


@pytest.mark.parametrize(
    ("named", "host", "result"),
    [
        (HOST, HOST, "success"),
        (HOST, "else.example", "certificate-host-mismatch"),
        ("mx.else.example", HOST, "validation-failure"),
        (HOST, None, "starttls-not-supported"),
    ],
)
async def test_a_policy_that_is_tested_delivers_all_the_same_and_says_what_would_fail(
    world, authority, policy_host, named, host, result
):
    policy_host.text = policy_host.text.replace("enforce", "testing").replace(HOST, named)
    worker, _ = await world(authority.issue(host)[1] if host else None, **await policy_host.start())
    await deliver(worker)
    assert counted(worker, "sts-testing", result) == 1


@pytest.mark.parametrize("how", ["redirect", "name", "large", "words"])
async def test_a_policy_that_cannot_be_had_is_none(world, authority, policy_host, how):
    settings = await policy_host.start("wrong.example" if how == "name" else "mta-sts.example.com")
    policy_host.status = "301 Moved" if how == "redirect" else "200 OK"
    policy_host.text = {"large": "x" * 100_000, "words": "version: STSv1\nmode: enforce\n"}.get(how, policy_host.text)
    worker, there = await world(None, **settings)
    await deliver(worker)
    assert len(there.mails) == 1


def test_a_certificates_wildcard_stands_for_one_label(authority):
    certificate, _ = authority.issue("*.peer.example")
    assert [has_name(certificate, name) for name in ("mx.peer.example", "a.mx.peer.example", "peer.example")] == [
        True,
        False,
        False,
    ]


# Smarthosts


async def test_a_smarthost_gets_our_password_over_checked_tls_only(start_worker, peer, authority, tmp_path):
    (tmp_path / "password").write_text("secret\n")
    tried = []

    def authenticate(server, session, envelope, mechanism, data):
        tried.append((data.login, data.password, session.ssl is not None))
        return AuthResult(success=data.password == b"secret")

    for host, delivered in ((HOST, True), ("else.example", False)):
        there = await peer(
            {"tls_context": authority.issue(host)[1], "authenticator": authenticate, "auth_require_tls": True}
        )
        route = {**there.route, "tls": "required", "user": "us", "password": tmp_path / "password"}
        worker = await start_worker(routes=[route], tls_authorities=authority.file, retry_interval=5.0)
        await deliver(worker, "Delivery" if delivered else "TransientFailure")
        await worker.worker.stop()
    assert tried == [(b"us", b"secret", True)]


async def test_a_route_may_want_tls_from_the_first_byte(start_worker, authority):
    heard = []

    async def serve(reader, writer):
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            heard.append(line.split()[0])
            writer.write(b"554 no\r\n" if line.startswith(b"MAIL") else b"250 ok\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.issue(HOST)[1])
    port = server.sockets[0].getsockname()[1]
    route = {"domain": "*", "host": HOST, "address": "127.0.0.1", "port": port, "tls": "implicit"}
    worker = await start_worker(routes=[route], tls_authorities=authority.file)
    record = await deliver(worker, "Bounce")
    assert record["tls_protocol_version"].startswith("TLSv1")
    assert heard[:2] == [b"EHLO", b"MAIL"]
    server.close()
