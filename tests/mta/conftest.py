"""Real peers on loopback, workers under test, and the log schema, for the tests of the MTA."""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from uuid import UUID

import aiosmtplib
import orjson
import pytest
import zstandard
from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mta.settings import MtaSettings
from mta.worker import Worker, WorkerPaths

# The log, as a reader sees it


def decode_segment(path):
    """The text of a segment as far as it can be read."""
    raw = path.read_bytes()
    if not raw.startswith(b"\x28\xb5\x2f\xfd"):
        return raw
    with suppress(zstandard.ZstdError):
        return zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return b""


def read_log(folder):
    """All whole records of a log folder, in order."""
    text = (decode_segment(path) for path in sorted(folder.glob("[0-9]*")))
    return [orjson.loads(line) for part in text for line in part.split(b"\n")[:-1]]


@pytest.fixture
def log_of():
    """Reads the records in a log folder."""
    return read_log


# KumoMTA's schema, written from its documentation

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_ATTEMPTS = {"Delivery", "TransientFailure", "Bounce"}
_MESSAGES = {"Reception", "Expiration", "AdminRebind", *_ATTEMPTS}


def _is_text_or_none(value):
    return value is None or isinstance(value, str)


def _is_response(value):
    code = value["enhanced_code"]
    return (
        set(value) == {"code", "enhanced_code", "content", "command"}
        and isinstance(value["code"], int)
        and (code is None or (set(code) == {"class", "subject", "detail"} and code["class"] in {2, 4, 5}))
        and "\n" not in value["content"]
        and (value["command"] is None or value["command"].endswith("\r\n"))
    )


def _is_peer(value):
    return value is None or (set(value) == {"name", "addr"} and ip_address(value["addr"]) is not None)


_KEYS = {
    "type": lambda v: v in {*_MESSAGES, "Rejection", "Feedback", "OOB", "AdminBounce"},
    "id": lambda v: v == "" or (_HEX_ID.fullmatch(v) and UUID(v).version == 1),
    "sender": lambda v: isinstance(v, str) and v != "<>",
    "recipient": lambda v: isinstance(v, str),
    "queue": lambda v: isinstance(v, str),
    "site": lambda v: isinstance(v, str),
    "size": lambda v: isinstance(v, int) and v >= 0,
    "response": _is_response,
    "peer_address": _is_peer,
    "timestamp": lambda v: isinstance(v, int),
    "event_time": _STAMP.fullmatch,
    "created": lambda v: isinstance(v, int),
    "created_time": _STAMP.fullmatch,
    "num_attempts": lambda v: isinstance(v, int) and v >= 0,
    "bounce_classification": lambda v: isinstance(v, str) and v,
    "egress_pool": _is_text_or_none,
    "egress_source": _is_text_or_none,
    "source_address": lambda v: v is None or re.fullmatch(r".+:\d+", v["address"]),
    "feedback_report": lambda v: v is None or isinstance(v, dict),
    "meta": lambda v: isinstance(v, dict) and isinstance(v["mtascope_seq"], int),
    "headers": lambda v: isinstance(v, dict),
    "delivery_protocol": lambda v: v in {None, "ESMTP"},
    "reception_protocol": lambda v: v in {"ESMTP", "HTTP", "Internal"},
    "nodeid": lambda v: str(UUID(v)) == v,
}
_OPTIONAL = {
    "tls_cipher": lambda v: isinstance(v, str) and v,
    "tls_protocol_version": lambda v: v.startswith("TLSv1"),
    "session_id": lambda v: str(UUID(v)) == v,
}


def check_record(record):
    """AssertionError, naming the field, unless this is a record as KumoMTA writes it."""
    assert set(_KEYS) <= set(record), f"missing: {set(_KEYS) - set(record)}"
    for key, value in record.items():
        assert ({**_KEYS, **_OPTIONAL}[key])(value), f"{key}: {value!r} in {record}"
    kind = record["type"]
    assert (record["id"] == "") == (kind == "Rejection"), record
    assert record["event_time"] >= record["created_time"] or kind == "OOB"
    if kind not in _ATTEMPTS:
        assert record["site"] == ("localhost" if kind == "AdminBounce" else "")
    elif record["delivery_protocol"]:
        assert re.fullmatch(r"[^>]+->.+@smtp_client", record["site"])
    if kind == "Reception":
        assert record["response"] == {"code": 250, "enhanced_code": None, "content": "", "command": None}
    if kind == "Expiration":
        assert (record["response"]["code"], record["response"]["enhanced_code"]["detail"]) == (551, 7)
    if kind == "Bounce":
        assert 500 <= record["response"]["code"] < 600


@pytest.fixture
def check():
    """Checks a log record against KumoMTA's schema."""
    return check_record


# Peers


class Peer:
    """A real SMTP server that answers as told. `script` maps a verb (CONNECT, EHLO, MAIL, RCPT, DATA, DOT) to a list of
    answers that are used one after the other, then the default; "drop" closes the connection instead.
    """

    def __init__(self, script, options):
        self.script = {verb: list(answers) for verb, answers in script.items()}
        self.pipelining = options.pop("pipelining", True)
        self.dsn = options.pop("dsn", False)
        self.asked = []
        self.options = options
        self.mails = []
        self.names = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.port = None

    def next(self, verb):
        answers = self.script.get(verb)
        if not answers:
            return None
        return answers.pop(0) if len(answers) > 1 or not answers[0].startswith("always ") else answers[0][7:]

    async def start(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: _PeerSession(self, **self.options), "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    @property
    def route(self):
        """A route for all domains to this peer."""
        return {"domain": "*", "host": "mx.peer.example", "address": "127.0.0.1", "port": self.port}


class _PeerSession(SMTP):
    def __init__(self, peer, **options):
        options = {"enable_SMTPUTF8": True, "hostname": "mx.peer.example", **options}
        super().__init__(_PeerHandler(peer), loop=asyncio.get_running_loop(), **options)
        self.peer = peer

    def connection_made(self, transport):
        if self._original_transport is None:
            self.peer.connections += 1
            self.peer.open += 1
            self.peer.most_open = max(self.peer.open, self.peer.most_open)
            answer = self.peer.next("CONNECT")
            if answer:
                if answer != "drop":
                    transport.write(answer.encode() + b"\r\n")
                transport.close()
                return
        super().connection_made(transport)

    def _getparams(self, params):
        """What aiosmtpd does not know it refuses: of a peer with DSN such options are noted and left out."""
        found = super()._getparams(params)
        ours = [each for each in params if each.partition("=")[0] in {"RET", "ENVID", "NOTIFY", "ORCPT"}]
        if self.peer.dsn and ours:
            self.peer.asked.append(ours)
            return {
                name: value for name, value in found.items() if name not in {each.partition("=")[0] for each in ours}
            }
        return found

    async def push(self, status):
        await super().push(status.encode("utf8", "surrogateescape") if isinstance(status, str) else status)

    def connection_lost(self, error):
        self.peer.open -= 1
        if self.session is not None and self.transport is not None:
            super().connection_lost(error)

    def eof_received(self):
        return super().eof_received() if self.session is not None else False


class _PeerHandler:
    def __init__(self, peer):
        self.peer = peer

    def answer(self, verb, server, default):
        said = self.peer.next(verb)
        if said == "drop":
            server.transport.abort()
            return default
        return said or default

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        session.host_name = hostname
        self.peer.names.append(hostname)
        said = self.answer("EHLO", server, "")
        offers = [line for line in responses if "AUTH" not in line or "authenticator" in self.peer.options]
        if self.peer.pipelining:
            offers.insert(1, "250-PIPELINING")
        if self.peer.dsn:
            offers.insert(1, "250-DSN")
        return [said] if said else offers

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        said = self.answer("MAIL", server, "250 2.1.0 Sender ok")
        if said.startswith("2"):
            envelope.mail_from, envelope.mail_options = address, options
        return said

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        said = self.answer("RCPT", server, "250 2.1.5 Recipient ok")
        if said.startswith("2"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        said = self.answer("DOT", server, "250 2.0.0 Queued as X1")
        if said.startswith("2"):
            self.peer.mails.append((envelope.mail_from, envelope.rcpt_tos[0], envelope.content, envelope.mail_options))
        return said


@pytest.fixture
async def peer():
    """Starts peers that answer as told; the first argument holds aiosmtpd's options."""
    started = []

    async def start(options=None, **script):
        started.append(Peer(script, options or {}))
        return await started[-1].start()

    yield start
    for each in started:
        each.server.close()
    await asyncio.sleep(0)


# Workers

_FAST = {
    "listen": (("127.0.0.1", 0),),
    "retry_interval": 0.05,
    "max_retry_interval": 0.2,
    "max_age": 30.0,
    "idle_timeout": 0.3,
    "connect_timeout": 2.0,
    "reply_timeout": 2.0,
    "log_flush_interval": 0.02,
    "min_free_bytes": 0,
    "drain_timeout": 2.0,
}


class RunningWorker:
    """A worker in this process, and what tests do with one."""

    def __init__(self, worker, paths):
        self.worker = worker
        self.paths = paths
        self._numbers = count(1)

    @property
    def port(self):
        return self.worker.addresses[0][1]

    @property
    def log(self):
        return read_log(self.paths.log)

    def types(self):
        return Counter(record["type"] for record in self.log)

    async def send(self, recipients="u@example.com", sender="a@example.org", body=None, **options):
        """Hand in one message; the answer to its final dot."""
        if isinstance(recipients, str):
            recipients = [recipients]
        content = body or f"Message-ID: <{next(self._numbers)}@example.org>\r\nSubject: x\r\n\r\nHello\r\n".encode()
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=self.port, start_tls=False, timeout=5)
        async with client:
            _, answer = await client.sendmail(sender, recipients, content, **options)
        return answer

    async def until(self, condition, seconds=8.0):
        """Wait until `condition(log records)` holds; the records."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition(records := self.log):
            assert asyncio.get_running_loop().time() < deadline, [(r["type"], r["response"]) for r in records]
            await asyncio.sleep(0.01)
        return records

    async def until_type(self, kind, number=1, seconds=8.0):
        """Wait for that many records of a type; those records."""
        records = await self.until(lambda found: sum(r["type"] == kind for r in found) >= number, seconds)
        return [record for record in records if record["type"] == kind]


@pytest.fixture
async def start_worker(tmp_path):
    """Starts workers with quick settings and those given. All records that they log are checked in the end."""
    running = []

    async def start(*, folder="data", options=None, **settings):
        paths = WorkerPaths.under(tmp_path / folder)
        worker = Worker(MtaSettings(**{**_FAST, **settings}), paths, **(options or {}))
        await worker.start()
        running.append(RunningWorker(worker, paths))
        return running[-1]

    yield start
    for each in running:
        if not each.worker._stopping:
            await each.worker.stop()
        for record in each.log:
            check_record(record)


# Certificates


def _make_certificate(folder):
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def make_certificate():
    """Makes a self-signed certificate and key in a folder; their paths."""
    return _make_certificate
