"""A send, its signed return path, and the bounce that comes back to it later: from SMTP to the restated rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collector.ingest import ingest_paths
from mta.events.pseudonym import Keyring
from mta.events.return_path import ReturnPaths
from mta.feedback.reader import FeedbackReader
from mtascope.keys import load_keyring
from mtascope.opened_store import open_store
from mtascope.resources import bounce_phrases
from mtascope.settings import Settings

DOMAIN = "bounces.example.com"
BOUNCE = (
    b"From: MAILER-DAEMON@mx.peer.example\r\nSubject: Undelivered Mail Returned to Sender\r\n"
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n"
    b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.peer.example\r\n\r\n"
    b"Final-Recipient: rfc822; somebody-else@forwarded.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n--b--\r\n"
)


def options(keyring: Keyring) -> dict[str, Any]:
    return {
        "keyring": keyring,
        "feedback": FeedbackReader(bounce_phrases(), ReturnPaths(keyring), frozenset({DOMAIN})),
    }


async def test_a_late_bounce_to_the_signed_return_path_restates_its_send_and_a_forged_one_does_nothing(
    tmp_path: Path, start_worker: Any, peer: Any
) -> None:
    settings = Settings(data=tmp_path / "data")
    keyring = load_keyring(settings.folder.keys)
    provider = await peer()
    worker = await start_worker(routes=[provider.route], return_paths=[{"domain": DOMAIN}], options=options(keyring))
    await worker.send(["ann@example.org", "ben@example.org"])
    await worker.until_type("Delivery", 2)
    returns = {recipient: sender for sender, recipient, _, _ in provider.mails}
    assert all(sender.endswith(f"@{DOMAIN}") for sender in returns.values())
    await worker.send(returns["ann@example.org"].upper(), sender="", body=BOUNCE)
    await worker.send(f"b-{'a' * 32}@{DOMAIN}", sender="", body=BOUNCE.replace(b"somebody-else", b"ben"))
    await worker.until_type("OOB")
    with open_store(settings) as store:
        receipt, _ = ingest_paths([str(worker.paths.log)], store)
        units = store.query(
            "SELECT recipient_hash, oob.class FROM unit WHERE direction = 'outbound' ORDER BY oob.class"
        )
        reports = store.query("SELECT type, matched_by FROM feedback")
    ann, ben = (keyring.recipient_hash(f"{name}@example.org") for name in ("ann", "ben"))
    assert units == [(ann, "bad_mailbox"), (ben, None)]
    assert reports == [("oob_bounce", "token")]
    assert receipt.quarantined == 0
    counted = worker.worker.metrics.registry.get_sample_value
    assert counted("mtascope_mta_feedback_mails_total", {"result": "forged"}) == 1
    assert counted("mtascope_mta_feedback_mails_total", {"result": "bounce"}) == 1


async def test_return_paths_are_signed_by_tenant_and_sender_domain_and_tagged_senders_stay(
    start_worker: Any, peer: Any
) -> None:
    provider = await peer()
    rules = [{"domain": DOMAIN, "tenants": ["acme"]}, {"domain": "b2.example.com", "senders": ["Shop.example"]}]
    keyring = Keyring(b"i" * 32, {1: b"a" * 32})
    worker = await start_worker(routes=[provider.route], return_paths=rules, options=options(keyring))
    body = b"X-Tenant: acme\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n"
    for sender, content in (
        ("news@other.example", body),
        ("news@shop.example", None),
        ("news@other.example", None),
        ("prvs=1234567890=news@shop.example", None),
        ("", None),
    ):
        await worker.send(sender=sender, body=content)
    await worker.until_type("Delivery", 5)
    senders = sorted((sender or "").strip("<>") for sender, _, _, _ in provider.mails)
    domains = [sender.partition("@")[2] if sender.startswith("b-") else sender for sender in senders]
    assert sorted(domains) == [
        "", "b2.example.com", DOMAIN, "news@other.example", "prvs=1234567890=news@shop.example"
    ]  # fmt: skip
    assert {record["sender"] for record in worker.log} == {
        "", "news@other.example", "news@shop.example", "prvs=1234567890=news@shop.example"
    }  # fmt: skip
