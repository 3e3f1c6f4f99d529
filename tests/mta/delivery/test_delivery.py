"""Delivery to real SMTP servers that take, defer, refuse, drop and stumble."""

import asyncio
import ssl

import pytest

from mta.delivery.endpoint_memory import EndpointMemory


async def test_mail_arrives_byte_for_byte_with_our_trace_field_before_it(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    body = b"Subject: dots\r\n\r\n.leading\r\n..two\r\n.\r\nbinary \xff\xfe\x00\r\nend\r\n"
    await worker.send(body=body, mail_options=["BODY=8BITMIME"])
    (record,) = await worker.until_type("Delivery")
    ((sender, recipient, content, options),) = there.mails
    assert (sender, recipient) == ("a@example.org", "u@example.com")
    assert content.endswith(body)
    assert content.startswith(b"Received: from ")
    assert len(content) == record["size"]
    assert "BODY=8BITMIME" in options
    assert record["response"]["content"] == "Queued as X1"
    assert record["response"]["command"] == ".\r\n"
    assert record["peer_address"] == {"name": "mx.peer.example", "addr": "127.0.0.1"}
    assert record["source_address"]["address"].startswith("127.0.0.1:")
    assert (record["site"], record["egress_source"], record["egress_pool"]) == (
        "default->mx.peer.example@smtp_client",
        "default",
        "default",
    )


async def test_a_deferral_is_tried_again_until_it_is_delivered(start_worker, peer):
    there = await peer(RCPT=["450 4.2.1 Mailbox busy", "451 Try later", "250 ok"])
    worker = await start_worker(routes=[there.route])
    await worker.send()
    await worker.until_type("Delivery")
    kinds = [(r["type"], r["num_attempts"], r["response"]["code"]) for r in worker.log]
    assert kinds == [
        ("Reception", 0, 250),
        ("TransientFailure", 0, 450),
        ("TransientFailure", 1, 451),
        ("Delivery", 2, 250),
    ]
    assert worker.log[1]["response"]["command"] == "RCPT TO:<u@example.com>\r\n"
    assert len(worker.worker.spool) == 0


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("verb", "command"), [("MAIL", "MAIL FROM:<a@example.org>"), ("RCPT", "RCPT TO:"), ("DOT", ".")]
)
async def test_a_permanent_refusal_bounces_and_the_connection_goes_on(start_worker, peer, verb, command, pipelining):
    there = await peer({"pipelining": pipelining}, **{verb: ["554 5.7.1 Not you", "250 ok"]})
    worker = await start_worker(routes=[there.route], connection_limit=1)
    await worker.send()
    await worker.send()
    await worker.until_type("Delivery")
    (bounce,) = await worker.until_type("Bounce")
    assert bounce["response"]["content"] == "Not you"
    assert bounce["response"]["enhanced_code"] == {"class": 5, "subject": 7, "detail": 1}
    assert bounce["response"]["command"].startswith(command)
    assert there.connections == 1


async def test_a_message_that_waits_too_long_expires_in_the_same_breath_as_its_last_deferral(start_worker, peer):
    there = await peer(RCPT=["always 452 4.2.2 Mailbox full"])
    worker = await start_worker(routes=[there.route], max_age=0.4)
    await worker.send()
    (expired,) = await worker.until_type("Expiration")
    assert "Mailbox full" in expired["response"]["content"]
    last = worker.log[-2]
    assert (last["type"], last["event_time"]) == ("TransientFailure", expired["event_time"])
    assert expired["num_attempts"] == last["num_attempts"] + 1
    assert len(worker.worker.spool) == 0


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DOT"])
async def test_a_lost_connection_is_a_deferral_of_our_own_and_the_mail_arrives_later(
    start_worker, peer, verb, pipelining
):
    there = await peer({"pipelining": pipelining}, **{verb: ["drop", "250 ok"]})
    worker = await start_worker(routes=[there.route])
    await worker.send()
    await worker.until_type("Delivery")
    (failure,) = await worker.until_type("TransientFailure")
    assert failure["response"]["content"].startswith("KumoMTA internal: connection lost at ")
    assert failure["peer_address"]["name"] == "mx.peer.example"


async def test_a_host_that_is_not_there_is_a_local_deferral(start_worker, peer):
    there = await peer()
    there.server.close()
    worker = await start_worker(routes=[there.route])
    await worker.send()
    (failure,) = (await worker.until_type("TransientFailure"))[:1]
    assert failure["response"]["content"].startswith("KumoMTA internal: cannot connect to mx.peer.example [127.0.0.1]")
    assert (failure["peer_address"], failure["delivery_protocol"]) == (None, None)
    assert b'attempts_total{outcome="local"}' in worker.worker.metrics.exposition()


async def test_what_waits_too_long_behind_a_dead_host_expires_without_an_attempt_of_its_own(start_worker, peer):
    there = await peer()
    there.server.close()
    worker = await start_worker(routes=[there.route], retry_interval=0.2, max_age=0.3, connection_limit=1)
    await worker.send([f"u{number}@example.com" for number in range(5)])
    expired = await worker.until_type("Expiration", 5)
    assert any(record["num_attempts"] == 0 for record in expired)
    assert all("cannot connect" in record["response"]["content"] for record in expired)
    assert len(worker.worker.spool) == 0


async def test_a_peer_that_allows_few_connections_is_given_no_more(start_worker, peer):
    there = await peer(CONNECT=[None, None, "421 4.7.0 Too many connections", "421 4.7.0 Too many connections"])
    worker = await start_worker(routes=[there.route], connection_limit=4)
    await asyncio.gather(*(worker.send() for _ in range(20)))
    await worker.until_type("Delivery", 20)
    assert worker.types()["TransientFailure"] <= 2


@pytest.mark.parametrize("code", [421, 554])
async def test_a_greeting_that_refuses_us_is_the_peers_word_but_no_verdict_on_the_recipient(start_worker, peer, code):
    there = await peer(CONNECT=[f"{code} 4.7.0 Your IP is too new", "220 ok"])
    there.script["CONNECT"] = [f"{code} Your IP is too new"]
    worker = await start_worker(routes=[there.route], retry_interval=0.2)
    await worker.send()
    (failure,) = (await worker.until_type("TransientFailure"))[:1]
    assert (failure["response"]["code"], failure["response"]["content"]) == (code, "Your IP is too new")
    assert failure["response"]["command"] is None
    there.script.clear()
    await worker.until_type("Delivery")


async def test_the_next_host_is_tried_when_the_first_is_down(start_worker, peer, dns_server):
    there = await peer()
    dns_server.zone = {
        ("example.com", "MX"): ["10 down.example.com.", "20 up.example.com."],
        ("down.example.com", "A"): ["127.0.0.9"],
        ("up.example.com", "A"): ["127.0.0.1"],
    }
    worker = await start_worker(
        nameservers=["127.0.0.1"], nameserver_port=dns_server.port, smtp_port=there.port, prohibited_networks=[]
    )
    await worker.send()
    (record,) = await worker.until_type("Delivery")
    assert record["peer_address"]["name"] == "up.example.com"
    assert record["num_attempts"] == 0


async def test_a_host_that_did_not_answer_lately_is_tried_last(start_worker, peer, dns_server):
    there = await peer()
    dns_server.zone = {
        ("example.com", "MX"): ["10 down.example.com.", "20 up.example.com."],
        ("down.example.com", "A"): ["127.0.0.9"],
        ("up.example.com", "A"): ["127.0.0.1"],
    }
    worker = await start_worker(
        nameservers=["127.0.0.1"], nameserver_port=dns_server.port, smtp_port=there.port, prohibited_networks=[]
    )
    await worker.send()
    await worker.until_type("Delivery")
    asked = []
    first = await asyncio.start_server(lambda _, writer: (asked.append(1), writer.close()), "127.0.0.9", there.port)
    await asyncio.sleep(0.4)  # the connection is given up
    await worker.send()
    records = await worker.until_type("Delivery", 2)
    assert [record["peer_address"]["name"] for record in records] == ["up.example.com"] * 2
    assert asked == []
    first.close()


async def test_a_domain_that_does_not_exist_bounces_without_a_peer(start_worker, dns_server):
    worker = await start_worker(nameservers=["127.0.0.1"], nameserver_port=dns_server.port)
    await worker.send(["a@gone.example", "b@gone.example"])
    records = await worker.until_type("Bounce", 2)
    assert {record["response"]["content"] for record in records} == {
        "KumoMTA internal: the domain gone.example does not exist"
    }
    assert {record["site"] for record in records} == {""}


async def test_connections_are_reused_up_to_their_limits(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route], connection_limit=2, max_deliveries_per_connection=5)
    await asyncio.gather(*(worker.send() for _ in range(30)))
    await worker.until_type("Delivery", 30)
    assert there.most_open <= 2
    assert 6 <= there.connections <= 8


async def test_an_idle_connection_is_given_up(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route], idle_timeout=0.05)
    await worker.send()
    await worker.until_type("Delivery")
    for _ in range(100):
        await asyncio.sleep(0.01)
        if not there.open:
            break
    assert (there.open, worker.worker.live().outbound) == (0, 0)


async def test_a_connection_that_the_peer_closed_while_idle_costs_no_attempt(start_worker, peer):
    there = await peer(options={"timeout": 0.1})
    worker = await start_worker(routes=[there.route], idle_timeout=5.0)
    await worker.send()
    await worker.until_type("Delivery")
    await asyncio.sleep(0.2)
    await worker.send()
    await worker.until_type("Delivery", 2)
    assert worker.types()["TransientFailure"] == 0


async def test_tls_is_used_where_it_is_offered_and_recorded(start_worker, peer, certificate):
    there = await peer(options={"tls_context": certificate})
    worker = await start_worker(
        routes=[there.route], options={"provider_label": lambda domain, mx: f"{domain} at {mx}"}
    )
    await worker.send()
    (record,) = await worker.until_type("Delivery")
    assert record["tls_protocol_version"] == "TLSv1.3"
    line = (
        'mtascope_mta_tls_connections_total{direction="outbound",'
        'provider="example.com at mx.peer.example",result="ok",tls_version="TLSv1.3"} 1.0'
    )
    assert line in worker.worker.metrics.exposition().decode()


async def test_broken_tls_is_counted_and_the_mail_goes_in_clear(start_worker, peer):
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # has no certificate: every handshake fails
    there = await peer(options={"tls_context": empty})
    worker = await start_worker(routes=[there.route])
    await worker.send()
    (record,) = await worker.until_type("Delivery")
    assert "tls_protocol_version" not in record
    assert b'result="failed",tls_version=""} 1.0' in worker.worker.metrics.exposition()
    assert there.connections == 2
    await asyncio.sleep(0.4)  # the connection is given up
    await worker.send()
    await worker.until_type("Delivery", 2)
    assert there.connections == 3, "the handshake that is known to fail is not tried again"


async def test_internationalized_mail_goes_out_as_such_or_bounces_in_our_name(start_worker, peer):
    able, unable = await peer(), await peer(options={"enable_SMTPUTF8": False})
    worker = await start_worker(
        routes=[{**able.route, "domain": "able.example"}, {**unable.route, "domain": "*"}],
    )
    for domain in ("able.example", "unable.example"):
        await worker.send(f"почта@{domain}", mail_options=["SMTPUTF8"], body=b"Subject: x\r\n\r\nx\r\n")
    await worker.until_type("Delivery")
    (bounce,) = await worker.until_type("Bounce")
    assert able.mails[0][1] == "почта@able.example"
    assert "SMTPUTF8" in bounce["response"]["content"]
    assert bounce["response"]["enhanced_code"] == {"class": 5, "subject": 6, "detail": 7}


async def test_a_bounce_of_a_bounce_is_kept_for_the_operator(start_worker, peer):
    there = await peer(RCPT=["550 5.1.1 No such user"])
    worker = await start_worker(routes=[there.route])
    await worker.send(sender="", body=b"Subject: Undelivered\r\n\r\nx\r\n")
    (record,) = await worker.until_type("Bounce")
    assert record["sender"] == ""
    (letter,) = (worker.paths.spool / "dead").glob("*.eml")
    assert letter.read_bytes().endswith(b"Subject: Undelivered\r\n\r\nx\r\n")
    assert worker.worker.live().dead_letters == {"bounced": 1}


async def test_what_a_peer_says_cannot_break_the_log(start_worker, peer):
    there = await peer(RCPT=["550-5.1.1 No\r\n550 5.1.1 such user \udcff" + "x" * 5000])
    worker = await start_worker(routes=[there.route])
    await worker.send()
    (record,) = await worker.until_type("Bounce")
    assert record["response"]["content"].startswith("No such user")
    assert len(record["response"]["content"]) <= 2048


@pytest.fixture
def certificate(tmp_path_factory, make_certificate):
    """A TLS context of a server with a self-signed certificate."""
    folder = tmp_path_factory.mktemp("tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(folder))
    return context


def test_broken_tls_is_remembered_for_an_endpoint_and_for_a_while():
    broken = EndpointMemory()
    broken.note(("192.0.2.1", 25), now=100, duration=10)
    assert broken.holds(("192.0.2.1", 25), now=109)
    assert not broken.holds(("192.0.2.1", 25), now=110)
    assert not broken.holds(("192.0.2.1", 2525), now=101)


async def test_more_mail_than_a_lane_has_room_for_is_delivered_in_the_order_in_which_it_came(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=[there.route], connection_limit=1)
    recipients = [f"u{number}@example.com" for number in range(300)]
    answer = await worker.send(recipients)
    assert len(answer) < 512
    while len(worker.worker.spool):  # noqa: ASYNC110 - it counts down
        await asyncio.sleep(0.05)
    assert [mail[1] for mail in there.mails] == recipients
