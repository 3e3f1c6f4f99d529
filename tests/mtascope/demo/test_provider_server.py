"""The simulated providers over real SMTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest

from mta.events.mail.delivery_report import read_delivery_report
from mta.events.mail.feedback_report import read_feedback_report
from mta.events.mail.message import read_message
from mtascope.demo.provider_server import Fleet, ProviderSettings, main
from mtascope.demo.providers import Profile, judge, load_profiles
from mtascope.demo.report_file import read_report

Session = Callable[[int], AbstractAsyncContextManager[aiosmtplib.SMTP]]
PROFILES = {profile.name: profile for profile in load_profiles()}


def fleet(*profiles: Profile, **settings: Any) -> Fleet:
    return Fleet(ProviderSettings(latency=0, **settings), profiles)


def only(name: str, **changes: Any) -> Profile:
    return PROFILES[name].model_copy(update=changes)


async def test_a_provider_greets_and_offers_as_itself(session: Session) -> None:
    async with fleet(PROFILES["microsoft-consumer"]) as providers:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=providers.ports["microsoft-consumer"], start_tls=False)
        _, banner = await client.connect()
        assert banner.startswith("AM7EUR06FT042.mail.protection.outlook.com Microsoft ESMTP MAIL Service, Ready at")
        _, offers = await client.ehlo()
        assert "STARTTLS" in offers
        await client.quit()


async def test_each_mail_meets_the_fate_that_its_seed_foretells(session: Session, offer: Any) -> None:
    mails = [(f"bounce+{n}@bounces.mtascope.test", f"u{n}@yahoo.com") for n in range(300)]
    foretold = [judge(PROFILES["yahoo"], 9, *mail) for mail in mails]
    async with fleet(PROFILES["yahoo"], seed=9) as providers, session(providers.ports["yahoo"]) as client:
        replies = [await offer(client, *mail) for mail in mails]
        counts = providers.snapshot()["providers"]["yahoo"]
    assert [int(reply[:3]) for reply in replies] == [250 if fate is None else fate.code for fate in foretold]
    assert counts["attempts"] == 300
    assert counts["accepted"] == foretold.count(None) == counts["unique"]
    assert counts["deferred"] == sum(1 for fate in foretold if fate and fate.code < 500) > 0
    assert counts["rejected"] == sum(1 for fate in foretold if fate and fate.code >= 500) > 0
    assert counts["unfinished"] == 0


async def test_a_greylisted_mail_is_taken_at_the_second_attempt(session: Session, offer: Any) -> None:
    async with fleet(PROFILES["other"]) as providers, session(providers.ports["other"]) as client:
        first = [await offer(client, f"b+{n}@x.test", f"u{n}@knit-and-purl.example") for n in range(40)]
        greylisted = [n for n, reply in enumerate(first) if "Greylisted" in reply]
        again = [await offer(client, f"b+{n}@x.test", f"u{n}@knit-and-purl.example") for n in greylisted]
    assert greylisted
    assert all(reply.startswith("250") for reply in again if "5.7.1" not in reply)


async def test_starttls_works_where_it_is_offered(session: Session, offer: Any, trusting: Any) -> None:
    async with fleet(PROFILES["gmail"]) as providers, session(providers.ports["gmail"]) as client:
        await client.starttls(tls_context=trusting)
        assert client.get_transport_info("cipher")
        assert (await offer(client, "b@x.test", "u5@gmail.com")).startswith("250 2.0.0 OK")
        counts = providers.snapshot()["providers"]["gmail"]
    assert (counts["tls_started"], counts["tls_established"]) == (1, 1)


async def test_a_small_host_offers_no_tls(session: Session) -> None:
    async with fleet(PROFILES["other"]) as providers, session(providers.ports["other"]) as client:
        await client.ehlo()
        assert not client.supports_extension("starttls")


async def test_a_flaky_provider_breaks_some_handshakes_and_stays_up(session: Session, trusting: Any) -> None:
    broken = 0
    async with fleet(PROFILES["orange-fr"]) as providers:
        for _ in range(24):
            async with session(providers.ports["orange-fr"]) as client:
                try:
                    await client.starttls(tls_context=trusting)
                    await client.ehlo()
                except (aiosmtplib.SMTPException, OSError):
                    broken += 1
        counts = providers.snapshot()["providers"]["orange-fr"]
    assert 0 < broken < 12
    assert counts["tls_started"] - counts["tls_established"] == broken


async def test_one_connection_too_many_is_sent_away(session: Session) -> None:
    async with fleet(only("yahoo", connections=1)) as providers:
        port = providers.ports["yahoo"]
        async with session(port):
            with pytest.raises(aiosmtplib.SMTPConnectError, match="Too many concurrent connections"):
                async with session(port):
                    pass
        await asyncio.sleep(0.01)
        async with session(port):
            counts = providers.snapshot()["providers"]["yahoo"]
    assert (counts["connections"], counts["connections_refused"]) == (2, 1)


async def test_a_mail_taken_twice_is_counted_as_a_double(session: Session, offer: Any) -> None:
    content = b"X-Mtascope-Demo-Id: 17\r\nSubject: x\r\n\r\nhi\r\n"
    async with fleet(only("gmail", behaviours=(PROFILES["gmail"].unknown_mailbox,))) as providers:
        for _ in range(2):
            async with session(providers.ports["gmail"]) as client:
                await offer(client, "b@x.test", "known@gmail.com", content)
        counts = providers.snapshot()["providers"]["gmail"]
    assert (counts["accepted"], counts["doubles"], counts["unique"]) == (2, 1, 1)


async def test_a_mail_that_was_taken_is_never_refused_afterwards(session: Session, offer: Any) -> None:
    mail = ("bounce+42@bounces.mtascope.test", "ann@knit-and-purl.example")
    stubborn = only("other", behaviours=(PROFILES["other"].behaviours[1].model_copy(update={"share": 1.0}),))
    async with fleet(stubborn) as providers, session(providers.ports["other"]) as client:
        replies = [await offer(client, *mail) for _ in range(4)]
        counts = providers.snapshot()["providers"]["other"]
    assert [reply[:3] for reply in replies] == ["450", "250", "250", "250"]
    assert (counts["unique"], counts["doubles"], counts["deferred"]) == (1, 2, 1)


async def test_a_mail_that_was_rejected_is_rejected_again_after_its_scenario_too(session: Session, offer: Any) -> None:
    now = [1000.0]
    settings = ProviderSettings(latency=0, scenario="ip-blocklisted", seconds=100)
    content = b"X-Mtascope-Demo-Pool: shared\r\n\r\nhi\r\n"
    async with Fleet(settings, [PROFILES["yahoo"]], clock=lambda: now[0]) as providers:
        async with session(providers.ports["yahoo"]) as client:
            await offer(client, "bounce+0@bounces.mtascope.test", "u@yahoo.com", content)
            now[0] += 50
            during = await offer(client, "bounce+1@bounces.mtascope.test", "u@yahoo.com", content)
            now[0] += 49
            after = await offer(client, "bounce+1@bounces.mtascope.test", "u@yahoo.com", content)
        counts = providers.snapshot()["providers"]["yahoo"]
    assert "BL21" in during
    assert after == during
    assert (counts["accepted"], counts["rejected"], counts["repeats"]) == (1, 2, 1)


async def test_mail_for_another_domain_is_not_relayed(session: Session, offer: Any) -> None:
    async with fleet(PROFILES["gmail"]) as providers, session(providers.ports["gmail"]) as client:
        assert (await offer(client, "b@x.test", "u@yahoo.com")).startswith("550 5.7.1 <u@yahoo.com>")


async def test_one_reply_after_the_dot_speaks_for_all_recipients(session: Session) -> None:
    async with fleet(only("gmail", behaviours=(PROFILES["gmail"].unknown_mailbox,))) as providers:
        async with session(providers.ports["gmail"]) as client:
            await client.mail("b@x.test")
            await client.rcpt("gone.ann@gmail.com".replace("gone.", ""))
            await client.rcpt("ben@gmail.com")
            with pytest.raises(aiosmtplib.SMTPRecipientRefused, match=r"550|NoSuchUser"):
                await client.rcpt("gone.carl@gmail.com")
            await client.data(b"Subject: x\r\n\r\nhi\r\n")
        counts = providers.snapshot()["providers"]["gmail"]
    assert (counts["attempts"], counts["accepted"], counts["rejected"]) == (3, 2, 1)


async def test_a_scenario_blocks_only_the_listed_pool(session: Session, offer: Any) -> None:
    now = [1000.0]
    settings = ProviderSettings(latency=0, scenario="ip-blocklisted", seconds=100)
    quiet = only("yahoo", behaviours=(PROFILES["yahoo"].unknown_mailbox,))
    async with Fleet(settings, [quiet], clock=lambda: now[0]) as providers, session(providers.ports["yahoo"]) as client:

        async def sent(pool: str, count: int) -> int:
            content = f"X-Mtascope-Demo-Pool: {pool}\r\nSubject: x\r\n\r\nhi\r\n".encode()
            replies = [await offer(client, f"{pool}{n}@x.test", f"u{n}@yahoo.com", content) for n in range(count)]
            return sum("203.0.113.25" in reply and "BL21" in reply for reply in replies)

        now[0] += 500
        assert await sent("shared", 20) == 0, "the scenario begins with the first mail"
        now[0] += 50
        assert await sent("shared", 20) > 15
        assert await sent("marketing", 20) == 0


async def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (it watches files and counts of another task)
            await asyncio.sleep(0.01)


async def test_complaints_come_back_as_feedback_reports(session: Session, offer: Any, sink: Any) -> None:
    mails: list[bytes] = []
    loud = only("yahoo", complaint_share=1.0, behaviours=(PROFILES["yahoo"].unknown_mailbox,))
    async with sink(mails) as port, fleet(loud, feedback_port=port) as providers:
        async with session(providers.ports["yahoo"]) as client:
            await offer(client, "bounce+7@bounces.mtascope.test", "ann@yahoo.com", b"Message-ID: <7@x>\r\n\r\nhi\r\n")
        await _until(lambda: providers.snapshot()["providers"]["yahoo"]["complaints"]["sent"] == 1)
    report = read_feedback_report(read_message(mails[0]))
    assert report.feedback_type == "abuse"
    assert report.original_mail_from == "bounce+7@bounces.mtascope.test"
    assert report.original_rcpt_to == ("ann@yahoo.com",)
    assert b"Message-ID: <7@x>" in (report.original_message or b"")


async def test_late_bounces_come_back_to_the_envelope_sender(session: Session, offer: Any, sink: Any) -> None:
    mails: list[bytes] = []
    late = only("other", late_bounce_share=1.0, behaviours=(PROFILES["other"].unknown_mailbox,))
    async with sink(mails) as port, fleet(late, feedback_port=port) as providers:
        async with session(providers.ports["other"]) as client:
            await offer(client, "bounce+8@bounces.mtascope.test", "ann@knit-and-purl.example")
        await _until(lambda: providers.snapshot()["providers"]["other"]["late_bounces"]["sent"] == 1)
    report = read_delivery_report(read_message(mails[0]))
    assert report.recipients[0].action == "failed"
    assert report.recipients[0].final_recipient == "ann@knit-and-purl.example"


async def test_a_complaint_waits_for_an_mta_that_is_away(session: Session, offer: Any, sink: Any) -> None:
    mails: list[bytes] = []
    async with sink([]) as port:
        pass
    loud = only("yahoo", complaint_share=1.0, behaviours=(PROFILES["yahoo"].unknown_mailbox,))
    async with fleet(loud, feedback_port=port) as providers, session(providers.ports["yahoo"]) as client:
        await offer(client, "bounce+7@bounces.mtascope.test", "ann@yahoo.com")
        await asyncio.sleep(0.02)
        assert providers.snapshot()["providers"]["yahoo"]["complaints"]["pending"] == 1
        async with sink(mails, port=port):
            await _until(lambda: providers.snapshot()["providers"]["yahoo"]["complaints"]["sent"] == 1)
    assert len(mails) == 1


@pytest.mark.e2e
async def test_the_process_says_when_it_is_ready_and_reports_at_its_end(
    tmp_path: Path, session: Session, offer: Any
) -> None:
    config, report, ready = (tmp_path / name for name in ("config.json", "report.json", "ready.json"))
    config.write_text(json.dumps({"seed": 3, "latency": 0}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mtascope.demo.provider_server"),
        *("--config", config, "--report", report, "--ready", ready),
    )
    try:
        await _until(ready.exists, 20)
        ports = read_report(ready)["ports"]
        async with session(ports["gmail"]) as client:
            await offer(client, "b@x.test", "u5@gmail.com")
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert read_report(report)["providers"]["gmail"]["attempts"] == 1


@pytest.mark.parametrize(("config", "named"), [('{"sead": 1}', "sead"), ('{"scenario": "sunny"}', "gmail-defers")])
def test_a_wrong_setting_ends_the_process_with_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, named: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(config)
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(path), "--report", str(tmp_path / "report"), "--ready", str(tmp_path / "ready")])
    assert ended.value.code == 2
    assert named in capsys.readouterr().err
