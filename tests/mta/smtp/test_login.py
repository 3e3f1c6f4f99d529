"""Logging in: over TLS only, with limits, and without a secret in any log."""

import ssl
from base64 import b64encode
from ipaddress import ip_network

import aiosmtplib
import pytest

from mta.events.errors import SettingsError
from mta.settings import MtaSettings
from mta.smtp.listener import Door
from mta.smtp.users import FailureLimit, PasswordHash, Users, hash_password

NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]
CHEAP = hash_password(b"open sesame", log2n=4)


@pytest.fixture
async def submission(start_worker, tmp_path, make_certificate):
    certificate, key = make_certificate(tmp_path)
    (tmp_path / "users").write_text(f"# who may send\nanna:{CHEAP}\n")

    async def start(**settings):
        worker = await start_worker(
            **{
                "routes": NOWHERE,
                "relay_networks": [ip_network("192.0.2.0/24")],
                "tls_certificate": certificate,
                "tls_key": key,
                "users": tmp_path / "users",
                "listen_submission": [("127.0.0.1", 0)],
                "listen_tls": [("127.0.0.1", 0)],
                **settings,
            }
        )
        worker.context = ssl.create_default_context(cafile=str(certificate))
        return worker

    return start


def client(worker, door, **options):
    port = worker.worker.doors[door][0][1]
    tls = {"use_tls": True} if door is Door.TLS else {"start_tls": options.pop("start_tls", True)}
    context = worker.context if tls != {"start_tls": False} else None
    return aiosmtplib.SMTP(hostname="localhost", port=port, tls_context=context, timeout=5, **tls, **options)


@pytest.mark.parametrize("door", [Door.SUBMISSION, Door.TLS])
@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
async def test_whoever_logs_in_over_tls_may_send_to_anywhere(submission, door, mechanism):
    worker = await submission()
    async with client(worker, door) as smtp:
        await smtp.ehlo()
        assert (await getattr(smtp, mechanism)("anna", "open sesame")).code == 235
        await smtp.sendmail("a@example.org", ["u@example.com"], b"Subject: x\r\n\r\nx\r\n")
    (record,) = await worker.until_type("Reception")
    assert record["tls_protocol_version"].startswith("TLSv1.")
    (message,) = await worker.worker.spool.all()
    assert b"with ESMTPSA id" in await worker.worker.spool.read(message)


@pytest.mark.parametrize("door", [Door.SUBMISSION, Door.TLS])
async def test_submission_takes_no_mail_without_a_login_even_from_relay_networks(submission, door):
    worker = await submission(relay_networks=[ip_network("127.0.0.0/8")])
    async with client(worker, door) as smtp:
        with pytest.raises(aiosmtplib.SMTPSenderRefused, match="530"):
            await smtp.sendmail("a@example.org", ["u@example.com"], b"x\r\n")


@pytest.mark.parametrize("door", [Door.RELAY, Door.SUBMISSION])
async def test_in_clear_nobody_is_asked_for_a_password(submission, door):
    worker = await submission()
    async with client(worker, door, start_tls=False) as smtp:
        assert not smtp.supports_extension("auth")
        await smtp.ehlo()
        answer = await smtp.execute_command(b"AUTH", b"PLAIN", b64encode(b"\0anna\0open sesame"))
    assert answer.code == 538
    (record,) = await worker.until_type("Rejection")
    assert record["response"]["command"] == "AUTH PLAIN\r\n"


async def test_a_client_that_guesses_is_cut_off_and_its_address_kept_out(submission):
    worker = await submission(max_failed_logins=4)
    codes = []
    for _ in range(3):
        smtp = client(worker, Door.TLS)
        await smtp.connect()
        await smtp.ehlo()
        for guess in ("a", "b", "c"):
            try:
                answer = await smtp.execute_command(b"AUTH", b"PLAIN", b64encode(f"\0anna\0{guess}".encode()))
            except aiosmtplib.SMTPServerDisconnected:
                break
            codes.append(answer.code)
        smtp.close()
    assert codes == [535, 535, 421, 535, 421, 421]
    async with client(worker, Door.SUBMISSION) as smtp:
        await smtp.ehlo()
        with pytest.raises(aiosmtplib.SMTPAuthenticationError, match="Too many failed logins"):
            await smtp.auth_plain("anna", "open sesame")
    text = str(worker.log)
    assert b64encode(b"\0anna\0a").decode() not in text


@pytest.mark.parametrize(
    ("said", "code"),
    [(b"CRAM-MD5", 504), (b"PLAIN !!!", 501), (b"PLAIN " + b64encode(b"no nulls"), 501), (b"PLAIN =", 501)],
)
async def test_what_is_no_login_is_refused_and_the_session_goes_on(submission, said, code):
    worker = await submission()
    async with client(worker, Door.TLS) as smtp:
        await smtp.ehlo()
        assert (await smtp.execute_command(b"AUTH", said)).code == code
        assert (await smtp.auth_plain("anna", "open sesame")).code == 235


async def test_a_login_can_be_broken_off(submission):
    worker = await submission()
    async with client(worker, Door.TLS) as smtp:
        await smtp.ehlo()
        assert (await smtp.execute_command(b"AUTH LOGIN")).code == 334
        assert (await smtp.execute_command(b"*")).code == 501
        assert (await smtp.noop()).code == 250


async def test_unknown_names_are_refused_like_wrong_passwords():
    users = Users({"anna": CHEAP})
    tries = [("anna", b"open sesame"), ("anna", b"x"), ("bob", b"open sesame")]
    assert [await users.check(*each) for each in tries] == [True, False, False]


def test_failures_are_forgotten_after_a_while():
    now = [0]
    limit = FailureLimit(lambda: now[0], most=2, window=10)
    limit.failed("a")
    limit.failed("a")
    assert (limit.reached("a"), limit.reached("b")) == (True, False)
    now[0] = 10
    assert not limit.reached("a")


def test_a_hash_can_be_written_down_and_read_again():
    assert PasswordHash.parse(str(CHEAP)) == CHEAP


@pytest.mark.parametrize(
    "text",
    ["x", "anna:", "anna:sesame", "anna:scrypt$30$8$1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA", "anna:scrypt$4$8$1$AAAA$AA=="],
)
def test_a_line_that_is_no_user_is_named_without_its_content(tmp_path, text):
    (tmp_path / "users").write_text(f"\n{text}\n")
    with pytest.raises(SettingsError, match=r"users:2") as caught:
        Users.load(tmp_path / "users")
    assert "sesame" not in str(caught.value)


def test_submission_without_users_or_certificate_is_refused():
    with pytest.raises(ValueError, match="listen_submission and listen_tls need"):
        MtaSettings(listen_tls=["127.0.0.1:0"])
