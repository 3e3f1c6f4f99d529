"""Mail handed in by HTTP, and what an operator orders about waiting mail, over the real socket."""

import asyncio
import email
from base64 import b64encode
from email import policy

import httpx
import pytest

from mta.control.idempotency import Answers, request_id
from mta.control.record import Hop
from mta.events.errors import SettingsError
from mta.events.instants import DAY
from mta.queue.orders import Criteria, OrderKind, Orders
from mta.settings import MtaSettings
from mta.worker import Worker, WorkerPaths

NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]
RAW = "From: a@example.org\nSubject: Hello {{ name }}\nX-Tenant: acme\n\n.Dear {{name}},\nyour {{ thing }} came.\n"


async def ask(worker, method, path, body=None, **options):
    transport = httpx.AsyncHTTPTransport(uds=str(worker.paths.control))
    async with httpx.AsyncClient(transport=transport, base_url="http://mta") as client:
        return await client.request(method, path, json=body, **options)


def request(*recipients, **fields):
    people = [person if isinstance(person, dict) else {"email": person} for person in recipients]
    return {"envelope_sender": "a@example.org", "recipients": people, "content": RAW, **fields}


async def test_each_recipient_gets_a_message_of_its_own(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    body = request(
        {"email": "u@example.com", "name": "Ute", "substitutions": {"thing": "hat"}},
        {"email": "v@example.com", "name": "Vera\r\nBcc: w@example.com"},
        substitutions={"thing": "parcel"},
    )
    answer = await ask(worker, "POST", "/api/inject/v1", body)
    assert answer.json() == {"success_count": 2, "fail_count": 0, "failed_recipients": [], "errors": []}
    await worker.until_type("Delivery", 2)
    mails = {mail[1]: mail[2] for mail in there.mails}
    assert mails["u@example.com"] == (
        b"From: a@example.org\r\nSubject: Hello Ute\r\nX-Tenant: acme\r\n\r\n.Dear Ute,\r\nyour hat came.\r\n"
    )
    assert b"\r\nBcc:" not in mails["v@example.com"].partition(b"\r\n\r\n")[0]
    assert b"your parcel came" in mails["v@example.com"]
    record = (await worker.until_type("Reception"))[0]
    assert (record["reception_protocol"], record["queue"]) == ("HTTP", "acme@example.com")


async def test_a_message_is_built_from_its_parts(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    content = {
        "from": {"email": "a@example.org", "name": "Änne"},
        "reply_to": {"email": "r@example.org"},
        "subject": "Hi {{ name }}",
        "headers": {"X-Campaign": "june"},
        "text_body": "plain {{ name }}",
        "html_body": "<b>{{ name }}</b>",
        "attachments": [
            {"data": b64encode(b"\0\1").decode(), "content_type": "image/png", "file_name": "x.png", "base64": True}
        ],
    }
    await ask(worker, "POST", "/api/inject/v1", request({"email": "u@example.com", "name": "Ute"}, content=content))
    await worker.until_type("Delivery")
    mail = email.message_from_bytes(there.mails[0][2], policy=policy.SMTP)
    assert (mail["From"], mail["To"], mail["Subject"]) == ("Änne <a@example.org>", "Ute <u@example.com>", "Hi Ute")
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Date"]
    assert [part.get_content().strip() for part in (mail.get_body(("plain",)), mail.get_body(("html",)))] == [
        "plain Ute",
        "<b>Ute</b>",
    ]
    assert next(mail.iter_attachments()).get_content() == b"\0\1"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"recipients": [{"email": "nobody"}]}, "553 5.1.3 The recipient"),
        ({"envelope_sender": "no body"}, "553 5.1.3 The sender"),
        ({"content": "Subject: x\n\n{% for x in y %}"}, "the template cannot be filled"),
        ({"content": "Subject: x\n\n{{ ().__class__.__mro__ }}"}, "the template cannot be filled"),
        ({"content": "{{#if x}}", "template_dialect": "Handlebars"}, "of Handlebars only"),
        ({"content": "Subject: x\n\n" + "x" * 1200}, "500 5.5.2 Line too long"),
        ({"content": "X-Tenant: a b\n\nx"}, "550 5.6.0 X-Tenant"),
        ({"content": {"text_body": "x", "subject": "a\r\nBcc: b@example.com"}}, "Header values may not"),
        (
            {"content": {"text_body": "x", "attachments": [{"data": "!", "content_type": "a/b", "base64": True}]}},
            "base64",
        ),
    ],
)
async def test_what_cannot_be_taken_for_one_recipient_is_said_and_harms_no_other(start_worker, changed, complaint):
    worker = await start_worker(routes=NOWHERE)
    answer = (await ask(worker, "POST", "/api/inject/v1", {**request("u@example.com"), **changed})).json()
    assert (answer["success_count"], answer["fail_count"]) == (0, 1)
    assert complaint in answer["errors"][0]
    mixed = request("u@example.com", "nobody", "v@example.com")
    answer = (await ask(worker, "POST", "/api/inject/v1", mixed)).json()
    assert (answer["success_count"], answer["failed_recipients"]) == (2, ["nobody"])


@pytest.mark.parametrize(
    ("body", "where"),
    [({"recipients": []}, "envelope_sender"), ({**request("u@example.com"), "contents": 1}, "contents")],
)
async def test_a_request_that_is_none_is_refused_in_plain_text_that_names_the_field(start_worker, body, where):
    worker = await start_worker(routes=NOWHERE)
    answer = await ask(worker, "POST", "/api/inject/v1", body)
    assert answer.status_code == 422
    assert answer.text.startswith(f"Error: {where}")


async def test_over_tcp_every_request_that_changes_anything_needs_the_token(start_worker, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    worker = await start_worker(routes=NOWHERE, control_listen=("127.0.0.1", 0), http_token=tmp_path / "token")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{worker.worker.control.tcp_port}") as client:
        tries = [{}, {"headers": {"Authorization": "Bearer wrong"}}, {"headers": {"Authorization": "Basic !"}}]
        for wrong in tries:
            assert (await client.post("/api/inject/v1", json=request("u@example.com"), **wrong)).status_code == 401
            assert (await client.get("/api/admin/suspend/v1", **wrong)).status_code == 401
        for right in ({"headers": {"Authorization": "Bearer 0123456789abcdef"}}, {"auth": ("x", "0123456789abcdef")}):
            assert (await client.post("/api/inject/v1", json=request("u@example.com"), **right)).status_code == 200
        assert (await client.get("/api/check-liveness/v1")).text == "OK"


async def test_without_a_token_tcp_offers_nothing_that_changes_anything(start_worker):
    worker = await start_worker(routes=NOWHERE, control_listen=("127.0.0.1", 0))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{worker.worker.control.tcp_port}") as client:
        assert (await client.post("/api/inject/v1", json=request("u@example.com"))).status_code == 404


async def test_a_request_that_is_too_large_is_refused_before_it_costs_memory(start_worker):
    worker = await start_worker(routes=NOWHERE, max_message_bytes=5000)
    answer = await ask(worker, "POST", "/api/inject/v1", request("u@example.com", content="x" * 6000))
    assert (answer.status_code, answer.text) == (413, "Error: the request is larger than 5000 bytes")


@pytest.mark.parametrize("content", [None, "short"])
def test_a_token_that_is_none_is_named(tmp_path, content):
    if content:
        (tmp_path / "token").write_text(content)

    async def make():
        Worker(MtaSettings(http_token=tmp_path / "token"), WorkerPaths.under(tmp_path))

    with pytest.raises(SettingsError, match=r"mta\.http_token .*token"):
        asyncio.run(make())


# Orders


async def test_suspended_mail_is_held_until_the_order_is_cancelled(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    order = (await ask(worker, "POST", "/api/admin/suspend/v1", {"domain": "Held.Example", "reason": "pause"})).json()
    await worker.send(["u@held.example", "v@free.example"])
    (delivered,) = await worker.until_type("Delivery")
    assert delivered["recipient"] == "v@free.example"
    (shown,) = (await ask(worker, "GET", "/api/admin/suspend/v1")).json()
    assert (shown["id"], shown["domain"], shown["reason"]) == (order["id"], "held.example", "pause")
    assert 290 < shown["duration"] <= 300
    assert (await ask(worker, "DELETE", "/api/admin/suspend/v1", order)).status_code == 200
    assert (await ask(worker, "DELETE", "/api/admin/suspend/v1", order)).status_code == 404
    await worker.until_type("Delivery", 2)
    assert worker.types()["TransientFailure"] == 0


async def test_mail_is_given_up_where_it_waits_and_while_the_order_stands_where_it_comes(start_worker):
    worker = await start_worker(routes=NOWHERE, retry_interval=60)
    for tenant in ("bad", "good"):
        await worker.send(["u@example.com", "v@example.com"], body=b"X-Tenant: %s\r\n\r\nx\r\n" % tenant.encode())
    await worker.until_type("TransientFailure")
    await ask(worker, "POST", "/api/admin/bounce/v1", {"tenant": "bad", "reason": "a mistake"})
    records = await worker.until_type("AdminBounce", 2)
    assert records[0]["response"]["content"] == "Administrator bounced with reason: a mistake"
    assert {record["meta"]["tenant"] for record in records} == {"bad"}
    await worker.send(body=b"X-Tenant: bad\r\n\r\nx\r\n")
    await worker.until_type("AdminBounce", 3)
    assert set(worker.worker.spool.index.queues) == {"good@example.com"}


async def test_an_order_ends_by_itself(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    await ask(worker, "POST", "/api/admin/suspend/v1", {"reason": "all of it", "duration": "300ms"})
    await worker.send()
    assert worker.types()["Delivery"] == 0
    await worker.until_type("Delivery")
    assert (await ask(worker, "GET", "/api/admin/suspend/v1")).json() == []


async def test_waiting_messages_and_queues_can_be_looked_at(start_worker):
    worker = await start_worker(routes=NOWHERE, retry_interval=60)
    answer = await worker.send(body=b"X-Tenant: acme\r\n\r\nx\r\n")
    queue_id = answer.rpartition("=")[2]
    await worker.until_type("TransientFailure")
    found = (await ask(worker, "GET", f"/api/admin/inspect-message/v1?id={queue_id}")).json()
    assert found["message"]["num_attempts"] == 1
    assert found["message"]["recipient"] == "u@example.com"
    queue = (await ask(worker, "GET", "/api/admin/inspect-sched-q/v1?queue_name=acme@example.com")).json()
    assert (queue["num_scheduled"], queue["messages"]) == (1, [found])
    assert (await ask(worker, "GET", "/api/admin/inspect-message/v1?id=none")).status_code == 404


async def test_an_order_outlasts_a_restart_and_is_kept_by_every_worker(start_worker, peer):
    there = await peer()
    first = await start_worker(routes=[there.route])
    await ask(first, "POST", "/api/admin/suspend/v1", {"tenant": "held", "reason": "wait", "duration": "1h"})
    await first.worker.stop()
    again = await start_worker(routes=[there.route])
    (order,) = (await ask(again, "GET", "/api/admin/suspend/v1")).json()
    await again.send(body=b"X-Tenant: held\r\n\r\nx\r\n")
    await again.send("v@example.com")
    await again.until_type("Delivery")
    assert [mail[1] for mail in there.mails] == ["v@example.com"]
    Orders(again.paths.orders).cancel(order["id"], OrderKind.SUSPEND)  # as another process does
    await again.until_type("Delivery", 2)


async def test_an_order_that_another_process_gives_is_obeyed(start_worker):
    worker = await start_worker(routes=NOWHERE, retry_interval=60)
    await worker.send(body=b"X-Campaign: june\r\n\r\nx\r\n")
    await worker.until_type("TransientFailure")
    Orders(worker.paths.orders).give(OrderKind.BOUNCE, Criteria(campaign="june"), "a mistake", 2**60)
    await worker.until_type("AdminBounce")


async def test_a_way_out_is_held_back_by_its_name_in_the_log(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    await worker.send()
    (record,) = await worker.until_type("Delivery")
    order = {"name": record["site"], "reason": "blocked", "duration": 60}
    given = (await ask(worker, "POST", "/api/admin/suspend-ready-q/v1", order)).json()
    await worker.send()
    await asyncio.sleep(0.2)
    assert len(there.mails) == 1
    (shown,) = (await ask(worker, "GET", "/api/admin/suspend-ready-q/v1")).json()
    assert (shown["id"], shown["name"]) == (given["id"], record["site"])
    await ask(worker, "DELETE", "/api/admin/suspend-ready-q/v1", given)
    await worker.until_type("Delivery", 2)


async def test_waiting_mail_is_put_into_another_queue_and_stays_there_after_a_restart(start_worker, peer):
    there = await peer()
    routes = [*NOWHERE, {**there.route, "domain": "backup.example"}]
    worker = await start_worker(routes=routes, retry_interval=0.5)
    await worker.send(body=b"X-Tenant: acme\r\n\r\nx\r\n")
    await worker.send("v@example.net")
    await worker.until_type("TransientFailure", 2)
    wanted = {"domain": "example.com", "reason": "moved", "data": {"routing_domain": "backup.example", "tenant": ""}}
    assert (await ask(worker, "POST", "/api/admin/rebind/v1", wanted)).json() == {"rebound": 1}
    (record,) = await worker.until_type("AdminRebind")
    assert record["queue"] == "example.com!backup.example"
    assert record["response"]["content"] == "Rebound from acme@example.com to example.com!backup.example: moved"
    await worker.worker.stop()
    again = await start_worker(routes=routes, retry_interval=0.5)
    (delivered,) = await again.until_type("Delivery")
    assert (delivered["queue"], delivered["recipient"]) == ("example.com!backup.example", "u@example.com")
    assert "tenant" not in delivered["meta"]
    assert (await ask(again, "GET", "/api/admin/queues/v1")).json() == {"example.net": 1}


async def test_a_waiting_message_is_shown_with_its_body_when_asked(start_worker):
    worker = await start_worker(routes=NOWHERE)
    queue_id = (await worker.send()).rpartition("=")[2]
    shown = (await ask(worker, "GET", f"/api/admin/inspect-message/v1?id={queue_id}&want_body=true")).json()
    assert shown["message"]["data"].endswith("Subject: x\r\n\r\nHello\r\n")


async def test_a_template_may_choose_and_repeat_and_its_values_stay_on_their_header_line(start_worker):
    worker = await start_worker(routes=NOWHERE)
    content = (
        "From: a@example.org\nSubject: {{ title }}\n\n{% for each in items %}* {{ each.name|upper }}\n{% endfor %}"
    )
    values = {"title": "x\r\nBcc: evil@example.com", "items": [{"name": "hat"}, {"name": "bag"}]}
    await ask(worker, "POST", "/api/inject/v1", request("u@example.com", content=content, substitutions=values))
    (message,) = await worker.worker.spool.all()
    body = await worker.worker.spool.read(message)
    assert body.endswith(b"Subject: x Bcc: evil@example.com\r\n\r\n* HAT\r\n* BAG\r\n")


async def test_a_request_that_is_sent_again_is_answered_again_and_done_once(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    body, key = request("u@example.com", "nobody"), {"Idempotency-Key": "order 7"}
    first, twin = await asyncio.gather(*(ask(worker, "POST", "/api/inject/v1", body, headers=key) for _ in range(2)))
    await worker.until_type("Delivery")
    await worker.worker.stop()
    again = await start_worker(routes=[there.route])
    third = await ask(again, "POST", "/api/inject/v1", body, headers=key)
    assert first.json() == twin.json() == third.json()
    assert (first.json()["success_count"], first.json()["fail_count"]) == (1, 1)
    assert again.types()["Reception"] == 1
    other = await ask(again, "POST", "/api/inject/v1", request("w@example.com"), headers=key)
    assert (other.status_code, other.text) == (422, "Error: this idempotency key was used for another request")


async def test_a_request_that_a_crash_cut_short_is_taken_up_where_it_was(start_worker):
    worker = await start_worker(routes=NOWHERE)
    part = f"{request_id('k')}/0"
    await worker.worker._inject("a@example.org", "u@example.com", b"Subject: x\r\n\r\n", Hop("", "127.0.0.1"), part)
    await worker.worker.stop()
    again = await start_worker(routes=NOWHERE)
    body = request("u@example.com", "v@example.com")
    answer = await ask(again, "POST", "/api/inject/v1", body, headers={"Idempotency-Key": "k"})
    assert answer.json()["success_count"] == 2
    assert sorted(message.recipient for message in await again.worker.spool.all()) == ["u@example.com", "v@example.com"]


def test_answers_are_kept_for_a_day_and_a_torn_line_is_forgotten(tmp_path):
    path, now = tmp_path / "answers", [0]
    answers = Answers(path, lambda: now[0])
    answers.keep("old", b"x", {"n": 1})
    now[0] = 2 * DAY
    answers.keep("new", b"x", {"n": 2})
    with path.open("ab") as file:
        file.write(b'{"request": "torn')
    found = Answers(path, lambda: now[0])
    assert (found.find("old", b"x"), found.find("new", b"x")) == (None, {"n": 2})
