"""Rules at work: what providers say sets what may go to them, for all workers, through restarts, for a while."""

import asyncio

import orjson
import pytest

from mta.delivery.effects import EffectFile

RULE = """
[["example.com".automation]]
regex = "{regex}"
action = {action}
duration = "{duration}"
"""


@pytest.fixture
def ruled(start_worker, tmp_path):
    """Starts a worker to a peer with one rule for example.com."""

    async def start(there, action, regex="slow down", duration="1h", extra="", **settings):
        text = '["example.com"]\nmx_rollup = false\n'
        text += RULE.format(regex=regex, action=action, duration=duration) + extra
        (tmp_path / "shaping.toml").write_text(text)
        return await start_worker(routes=[there.route], shaping=tmp_path / "shaping.toml", **settings)

    return start


def effects(worker):
    path = worker.paths.shared / "automation.json"
    return orjson.loads(path.read_bytes()) if path.exists() else []


async def test_a_suspended_way_is_left_alone_as_long_as_is_said_and_then_recovers(ruled, peer):
    there = await peer(RCPT=["451 4.7.0 slow down", "250 ok"])
    worker = await ruled(there, '"Suspend"', duration="1s", retry_interval=0.05, max_retry_interval=0.05)
    started = asyncio.get_running_loop().time()
    await worker.send()
    await worker.until_type("TransientFailure")
    await worker.send(["b@example.com", "c@other.example"])
    await worker.until_type("Delivery", 1)
    await asyncio.sleep(0.3)
    assert [mail[1] for mail in there.mails] == ["c@other.example"]
    await worker.until_type("Delivery", 3)
    assert asyncio.get_running_loop().time() - started >= 1.0
    assert worker.types()["TransientFailure"] == 1


async def test_an_effect_holds_for_other_workers_and_through_a_restart(ruled, peer):
    there = await peer(RCPT=["451 4.7.0 slow down", "250 ok"])
    worker = await ruled(there, '"Suspend"', retry_interval=0.05)

    await worker.send()
    await worker.until_type("TransientFailure")
    await worker.worker.stop()
    again = await ruled(there, '"Suspend"', retry_interval=0.05)
    await again.send("b@example.com")
    await asyncio.sleep(0.4)
    assert there.mails == []
    (effect,) = effects(again)
    assert (effect["kind"], effect["rule"]) == ("Suspend", "example.com.automation 1")
    assert effect["reason"] == "451 4.7.0 slow down"
    assert EffectFile(again.paths.effects, again.worker._clock).cancel(effect["id"])
    await again.until_type("Delivery", 2)


async def test_a_tenants_mail_is_suspended_and_nobody_elses(ruled, peer):
    there = await peer(RCPT=["451 4.7.0 slow down", "250 ok"])
    worker = await ruled(there, '"SuspendTenant"', retry_interval=0.05)
    await worker.send(body=b"X-Tenant: acme\r\n\r\nx\r\n")
    await worker.until_type("TransientFailure")
    await worker.send("b@example.com", body=b"X-Tenant: other\r\n\r\nx\r\n")
    await worker.send("c@example.com", body=b"X-Tenant: acme\r\n\r\nx\r\n")
    await worker.until_type("Delivery")
    await asyncio.sleep(0.3)
    assert [mail[1] for mail in there.mails] == ["b@example.com"]


async def test_bounced_mail_is_given_up_with_the_rule_and_the_reply_as_reason(ruled, peer):
    there = await peer(RCPT=["451 4.7.0 slow down", "250 ok"])
    worker = await ruled(there, '"BounceCampaign"', retry_interval=0.2)
    await worker.send(body=b"X-Campaign: june\r\n\r\nx\r\n")
    (record,) = await worker.until_type("AdminBounce")
    assert record["response"]["content"].endswith("example.com.automation 1: 451 4.7.0 slow down")


async def test_a_limit_that_a_rule_sets_holds_at_once(ruled, peer):
    there = await peer(RCPT=["451 4.7.0 slow down", "250 ok"])
    action = '[{SetConfig = {name = "max_message_rate", value = "10/s"}}]'
    worker = await ruled(there, action, retry_interval=0.05)
    await worker.send()
    await worker.until_type("Delivery")
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(worker.send() for _ in range(6)))
    await worker.until_type("Delivery", 7)
    assert asyncio.get_running_loop().time() - started >= 0.5


async def test_a_threshold_counts_before_it_fires(ruled, peer):
    there = await peer(RCPT=["451 slow down", "451 slow down", "451 slow down", "250 ok"])
    worker = await ruled(there, '"Suspend"\ntrigger = {Threshold = "3/hr"}', retry_interval=0.05, connection_limit=1)
    await worker.send()
    await worker.until_type("TransientFailure", 2)
    assert effects(worker) == []
    await worker.until_type("TransientFailure", 3)
    assert len(effects(worker)) == 1


async def test_a_storm_of_refusals_is_one_effect(ruled, peer):
    there = await peer(RCPT=["always 451 slow down"])
    worker = await ruled(there, '"Suspend"', connection_limit=4, retry_interval=5.0)
    await worker.send([f"u{number}@example.com" for number in range(12)])
    await worker.until_type("TransientFailure")
    await asyncio.sleep(0.2)
    assert len(effects(worker)) == 1


async def test_our_own_failures_match_only_rules_that_ask_for_them(ruled, peer):
    there = await peer()
    there.server.close()
    worker = await ruled(there, '"Suspend"', regex="cannot connect", retry_interval=5.0)
    await worker.send()
    await worker.until_type("TransientFailure")
    assert effects(worker) == []
    await worker.worker.stop()
    worker = await ruled(there, '"Suspend"\nmatch_internal = true', regex="cannot connect", folder="other")
    await worker.send()
    await worker.until_type("TransientFailure")
    assert len(effects(worker)) == 1


async def test_a_rule_may_name_a_class_of_bounces(ruled, peer):
    there = await peer(RCPT=["451 4.7.1 you are strange", "250 ok"])
    extra = '[["example.com".automation]]\nclass = "reputation"\naction = "Suspend"\nduration = "1h"\n'
    asked = []

    def classify(reply, domain, mx):
        asked.append((reply.code, domain, mx))
        return "reputation"

    worker = await ruled(there, '"Suspend"', regex="nothing", extra=extra, options={"classify": classify})
    await worker.send()
    await worker.until_type("TransientFailure")
    assert asked == [(451, "example.com", "mx.peer.example")]
    assert [effect["rule"] for effect in effects(worker)] == ["example.com.automation 2"]


async def test_effects_that_cannot_be_read_end(ruled, peer, caplog):
    there = await peer()
    worker = await ruled(there, '"Suspend"')
    (worker.paths.shared / "automation.json").write_text("[{]")
    await worker.send()
    await worker.until_type("Delivery")
    assert "cannot be read" in caplog.text


async def test_a_provider_that_answers_421_is_left_alone_and_recovered(start_worker, peer):
    there = await peer(MAIL=["421 4.7.0 Too fast, try again in 2 seconds", "250 ok"])
    worker = await start_worker(routes=[there.route], retry_interval=0.05, max_retry_interval=0.05)
    started = asyncio.get_running_loop().time()
    await worker.send([f"u{number}@example.com" for number in range(4)])
    await worker.until_type("TransientFailure")
    await worker.until_type("Delivery", 4)
    assert asyncio.get_running_loop().time() - started >= 2.0
    assert worker.types()["TransientFailure"] == 1, "the others waited without an attempt"


async def test_what_is_said_of_a_domain_holds_for_its_neighbours_on_the_same_hosts(
    start_worker, peer, dns_server, tmp_path
):
    there = await peer()
    dns_server.zone = {
        ("big.example", "MX"): ["10 mx.big.example."],
        ("small.example", "MX"): ["10 mx.big.example."],
        ("mx.big.example", "A"): ["127.0.0.1"],
    }
    (tmp_path / "shaping.toml").write_text('["big.example"]\nconnection_limit = 1\n')
    worker = await start_worker(
        nameservers=["127.0.0.1"],
        nameserver_port=dns_server.port,
        smtp_port=there.port,
        prohibited_networks=[],
        shaping=tmp_path / "shaping.toml",
    )
    await asyncio.sleep(0.1)
    await worker.send([f"u{n}@{name}.example" for n in range(10) for name in ("big", "small")])
    await worker.until_type("Delivery", 20)
    assert there.most_open == 1
