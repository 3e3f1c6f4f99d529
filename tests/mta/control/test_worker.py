"""A worker from outside: its API, its metrics, what it does with feedback, how it starts and stops."""

import asyncio
import errno
import re
from ipaddress import ip_network

import aiosmtplib
import httpx
import prometheus_client.parser
import pytest

from mta.errors import ListenError, SpoolError
from mta.events.errors import SettingsError
from mta.feedback.reader import FeedbackReader
from mta.feedback.records import Reading
from mta.metrics import METRICS
from mta.queue.message import Envelope
from mta.settings import MtaSettings
from mta.worker import Worker, WorkerPaths

NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]


def ask(running, path):
    transport = httpx.AsyncHTTPTransport(uds=str(running.paths.control))

    async def get():
        async with httpx.AsyncClient(transport=transport, base_url="http://mta") as client:
            return await client.get(path)

    return get()


async def test_the_snapshot_shows_what_waits_where(start_worker):
    worker = await start_worker(routes=NOWHERE, retry_interval=60)
    await worker.send(["a@one.example", "b@one.example", "c@two.example"])
    await worker.until_type("TransientFailure")
    live = (await ask(worker, "/api/live")).json()
    assert live["domains"] == {"one.example": 2, "two.example": 1}
    assert live["fresh"] + live["retrying"] == 3
    assert live["retrying"] >= 1
    assert live["spool_bytes"] > 500


async def test_liveness_is_told_in_kumomtas_words(start_worker):
    worker = await start_worker(routes=NOWHERE)
    answer = await ask(worker, "/api/check-liveness/v1")
    assert (answer.status_code, answer.text) == (200, "OK")
    full = await start_worker(folder="full", routes=NOWHERE, min_free_bytes=2**62)
    answer = await ask(full, "/api/check-liveness/v1")
    assert (answer.status_code, answer.text) == (503, "storage is too full")


async def test_metrics_are_those_declared_with_known_labels_at_zero(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    await worker.send()
    await worker.until_type("Delivery")
    text = (await ask(worker, "/metrics")).text
    families = {family.name: family for family in prometheus_client.parser.text_string_to_metric_families(text)}
    declared = {metric.name.removesuffix("_total"): metric for metric in METRICS}
    assert set(families) - {name for name in families if name.endswith("_created")} == set(declared)
    assert all(families[name].type == metric.type for name, metric in declared.items())
    samples = {(s.name, *s.labels.values()): s.value for family in families.values() for s in family.samples}
    assert samples["mtascope_mta_attempts_total", "delivered"] == 1
    assert samples["mtascope_mta_attempts_total", "bounced"] == 0
    assert samples["mtascope_mta_messages_received_total", "ESMTP"] == 1
    assert samples["mtascope_mta_log_records_total", "Delivery"] == 1
    assert samples["mtascope_mta_connections", "outbound"] == 1
    assert samples["mtascope_mta_journal_sync_seconds_count",] >= 2


async def test_the_fullest_domains_are_shown_by_name_and_the_rest_together(start_worker):
    worker = await start_worker(routes=NOWHERE, retry_interval=60)
    await worker.send([f"u@d{number}.example" for number in range(60)] + ["v@d0.example"])
    domains = worker.worker.live().domains
    assert (len(domains), domains["d0.example"], domains["other"]) == (51, 2, 10)


async def test_the_api_can_listen_on_loopback_too(start_worker):
    worker = await start_worker(routes=NOWHERE, control_listen=("127.0.0.1", 0))
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{worker.worker.control.tcp_port}/api/check-liveness/v1")
    assert answer.text == "OK"


# Feedback


async def test_mail_to_a_feedback_domain_becomes_the_records_that_the_reader_makes_of_it(start_worker):
    seen = []

    def reader(mail):
        seen.append(mail)
        record = {
            "type": "Feedback",
            "sender": mail.sender,
            "recipient": mail.recipients[0],
            "feedback_report": {"feedback_type": "abuse"},
        }
        return Reading((record,))

    worker = await start_worker(
        feedback_domains=["FBL.example.com"],
        relay_networks=[ip_network("192.0.2.0/24")],
        options={"feedback": reader},
    )
    answer = await worker.send("x@fbl.example.com", sender="", body=b"Subject: abuse\r\n\r\nreport\r\n")
    (record,) = await worker.until_type("Feedback")
    assert record["id"] == answer.removeprefix("2.0.0 OK ids=") == seen[0].queue_id
    assert record["feedback_report"] == {"feedback_type": "abuse"}
    assert record["meta"]["mtascope_direction"] == "inbound"
    assert (seen[0].sender, seen[0].recipients, seen[0].peer_ip) == ("", ("x@fbl.example.com",), "127.0.0.1")
    assert seen[0].body == b"Subject: abuse\r\n\r\nreport\r\n"
    assert worker.types() == {"Feedback": 1}
    assert len(worker.worker.spool) == 0


COMPLAINT = b"""From: <fbl@provider.example>
To: <fbl@fbl.example.com>
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: text/plain

This is a complaint.
--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Provider/1.0
Version: 1
Original-Rcpt-To: <person@provider.example>

--b
Content-Type: message/rfc822

From: <news@example.com>
Message-ID: <first@example.com>
Subject: news

Hello
--b--
""".replace(b"\n", b"\r\n")

LATE_BOUNCE = b"""From: <mailer-daemon@provider.example>
To: <bounce@fbl.example.com>
Subject: Undelivered
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

It failed.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.provider.example

Final-Recipient: rfc822; person@provider.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such user

--b--
""".replace(b"\n", b"\r\n")


async def test_complaints_and_late_bounces_are_logged_in_kumomtas_form(start_worker):
    worker = await start_worker(feedback_domains=["fbl.example.com"], options={"feedback": FeedbackReader()})
    await worker.send("fbl@fbl.example.com", body=COMPLAINT)
    await worker.send("bounce@fbl.example.com", sender="", body=LATE_BOUNCE)
    (complaint,) = await worker.until_type("Feedback")
    (late,) = await worker.until_type("OOB")
    assert complaint["feedback_report"]["original_rcpto_to"] == ["person@provider.example"]
    assert (late["recipient"], late["response"]["code"]) == ("person@provider.example", 550)
    assert complaint["id"] != late["id"]


async def test_mail_to_a_feedback_domain_that_is_no_report_is_only_received(start_worker):
    worker = await start_worker(feedback_domains=["fbl.example.com"])
    await worker.send("x@fbl.example.com")
    (record,) = await worker.until_type("Reception")
    assert (record["queue"], record["meta"]["mtascope_direction"]) == ("fbl.example.com", "inbound")
    assert len(worker.worker.spool) == 0


async def test_mail_to_a_report_address_is_taken_from_anybody_and_kept_for_the_reader(start_worker, tmp_path):
    worker = await start_worker(report_addresses=["rua@Example.com"], relay_networks=[])
    answer = await worker.send("RUA@example.com", sender="noreply@receiver.example", body=COMPLAINT)
    (kept,) = tmp_path.rglob("reports/new/*")
    assert kept.name == answer.removeprefix("2.0.0 OK ids=")
    assert kept.read_bytes().startswith(b"Return-Path: <noreply@receiver.example>\r\nReceived: from ")
    assert kept.read_bytes().endswith(COMPLAINT)
    (record,) = await worker.until_type("Reception")
    assert record["meta"]["mtascope_direction"] == "inbound"
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
        await worker.send("other@example.com")


async def test_feedback_and_outbound_recipients_of_one_message_each_go_their_way(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route], feedback_domains=["fbl.example.com"])
    answer = await worker.send(["x@fbl.example.com", "y@example.com"])
    (delivery,) = await worker.until_type("Delivery")
    receptions = await worker.until_type("Reception", 2)
    ids = answer.removeprefix("2.0.0 OK ids=").split(",")
    assert len(set(ids)) == 2
    assert {record["id"] for record in receptions} == set(ids)
    assert delivery["recipient"] == "y@example.com"
    assert "mtascope_direction" not in delivery["meta"]


# Starting and stopping


async def test_a_restarted_worker_goes_on_where_the_last_one_stopped(start_worker, peer):
    first = await start_worker(routes=NOWHERE, retry_interval=0.05)
    await first.send()
    await first.until_type("TransientFailure")
    await first.worker.stop()
    there = await peer()
    second = await start_worker(routes=[there.route])
    assert second.worker.recovery.messages == 1
    records = await second.until(lambda found: any(r["type"] == "Delivery" for r in found))
    seqs = [record["meta"]["mtascope_seq"] for record in records]
    assert seqs == list(range(1, len(records) + 1))
    assert len({record["nodeid"] for record in records}) == 1


async def test_a_stopping_worker_lets_the_transaction_under_way_end(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write(b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n")
    while not (await reader.readline()).startswith(b"354"):
        pass
    stopping = asyncio.create_task(worker.worker.stop())
    await asyncio.sleep(0.05)
    writer.write(b"x\r\n.\r\n")
    assert (await reader.readline()).startswith(b"250 2.0.0 OK ids=")
    assert (await reader.readline()).startswith(b"421 4.3.2")
    writer.close()
    await stopping
    assert worker.types()["Reception"] == 1
    assert all(not path.stat().st_mode & 0o222 for path in worker.paths.log.iterdir())


async def test_an_address_in_use_is_named(start_worker, tmp_path):
    worker = await start_worker(routes=NOWHERE)
    taken = MtaSettings(listen=[("127.0.0.1", worker.port)])
    second = Worker(taken, WorkerPaths.under(tmp_path / "second"))
    with pytest.raises(ListenError, match=rf"127.0.0.1:{worker.port}: cannot listen.*--listen"):
        await second.start()
    await second.stop()


async def test_a_certificate_that_cannot_be_used_is_named(tmp_path):
    settings = MtaSettings(tls_certificate=tmp_path / "none.pem", tls_key=tmp_path / "none.key")
    with pytest.raises(SettingsError, match=r"mta\.tls_certificate .*none\.pem"):
        Worker(settings, WorkerPaths.under(tmp_path))


async def test_a_node_id_that_is_none_is_named(tmp_path):
    paths = WorkerPaths.under(tmp_path)
    paths.node.parent.mkdir(parents=True)
    paths.node.write_text("not a uuid\n")
    with pytest.raises(SettingsError, match=re.escape(str(paths.node))):
        Worker(MtaSettings(), paths)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"retry_intervall": 3}, "retry_intervall"),
        ({"retry_interval": "soon"}, "retry_interval"),
        ({"listen": ["nowhere"]}, "listen"),
        ({"relay_networks": ["10.0.0.1/8"]}, "relay_networks"),
        ({"routes": [{"domain": "*", "host": "h", "address": "mx.example"}]}, "routes.0.address"),
        ({"tls_key": "x.pem"}, "tls_certificate"),
        ({"max_recipients": 0}, "max_recipients"),
    ],
)
def test_a_wrong_setting_is_named(settings, field):
    with pytest.raises(ValueError, match=re.escape(field)):
        MtaSettings(**settings)


def test_durations_can_have_units():
    settings = MtaSettings(retry_interval="20m", max_age="7d", idle_timeout=3)
    assert (settings.retry_interval, settings.max_age, settings.idle_timeout) == (1200, 604800, 3)


async def test_a_spool_that_fails_is_noticed(start_worker):
    worker = await start_worker(routes=NOWHERE)

    def broken(fd):
        raise OSError(errno.EIO, "gone")

    worker.worker.spool._journal._sync = broken
    with pytest.raises(SpoolError):
        await worker.worker.spool.accept(Envelope("", 0, 0), [], b"x", [])
    answer = await ask(worker, "/api/check-liveness/v1")
    assert answer.status_code == 503
    assert any(part.done() for part in worker.worker.vital)
