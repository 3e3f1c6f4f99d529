"""Advice that rests on enough reports, names what stands in the way, and never on forged reports."""

from __future__ import annotations

import pytest

from dmarc.advisor import Coverage, Week, advise, changes
from dmarc.senders import Sender, SenderKind, SourceTraffic
from mta.events.instants import DAY

UNTIL = 100 * DAY
ENOUGH = Coverage(28, {"google.com": 28, "Yahoo": 20})
OWN = Sender(SenderKind.OWN, "egress-7", "log")
FORGER = Sender(SenderKind.SUSPICIOUS, "203.0.113.9", "never aligned")
FORWARDER = Sender(SenderKind.FORWARDER, "forwarder", "override")


def sent(messages, failed=0, **known):
    base = {
        "source_ip": "192.0.2.7", "messages": float(messages), "passed": float(messages - failed),
        "dkim_aligned": float(messages - failed), "spf_aligned": 0.0, "hindered": 0.0, "forwarded": 0.0,
        "first_day": UNTIL - 28 * DAY, "last_day": UNTIL - DAY,
    }  # fmt: skip
    return SourceTraffic(**(base | known))


@pytest.mark.parametrize(("policy", "step"), [("none", "quarantine"), ("quarantine", "reject"), ("reject", "reject")])
def test_the_next_step_is_safe_when_all_of_ours_passes(policy, step):
    found = advise("example.com", policy, [(sent(1_000, failed=2), OWN)], ENOUGH, UNTIL)
    assert (found.safe, found.recommended, found.blockers) == (True, step, ())


def test_our_failing_mail_blocks_and_is_named():
    found = advise("example.com", "none", [(sent(1_000, failed=100), OWN), (sent(5_000), OWN)], ENOUGH, UNTIL)
    assert (found.safe, found.recommended) == (False, "none")
    (blocker,) = found.blockers
    assert (blocker.code, blocker.sender, blocker.messages) == ("unaligned_sender", "egress-7", 100)
    assert "egress-7" in found.summary


def test_forgers_do_not_block_they_are_what_a_policy_is_for():
    found = advise("example.com", "none", [(sent(1_000), OWN), (sent(900, failed=900), FORGER)], ENOUGH, UNTIL)
    assert (found.safe, found.would_lose, found.unknown) == (True, 0, 900)


def test_forwarded_mail_is_a_loss_to_expect():
    found = advise("example.com", "none", [(sent(1_000), OWN), (sent(50, failed=50), FORWARDER)], ENOUGH, UNTIL)
    assert (found.safe, found.would_lose) == (True, 50)
    assert "50" in found.summary


@pytest.mark.parametrize(
    ("coverage", "messages", "code"),
    [
        (Coverage(3, {"a": 3, "b": 3}), 1_000, "too_few_days"),
        (Coverage(28, {"a": 28}), 1_000, "too_few_reporters"),
        (ENOUGH, 20, "too_few_messages"),
    ],
)
def test_thin_reports_never_say_yes(coverage, messages, code):
    found = advise("example.com", "none", [(sent(messages), OWN)], coverage, UNTIL)
    assert not found.safe
    assert code in {blocker.code for blocker in found.blockers}


def test_no_report_at_all_is_not_safe():
    found = advise("example.com", None, [], Coverage(0, {}), UNTIL)
    assert (found.safe, found.messages) == (False, 0)
    assert "publish" in found.summary


def test_a_sender_of_the_last_week_is_new():
    traffic = [(sent(1_000), OWN), (sent(30, failed=30, first_day=UNTIL - 2 * DAY), FORGER)]
    assert [item.new for item in advise("example.com", "none", traffic, ENOUGH, UNTIL).sources] == [False, True]


def test_changes_since_last_week_are_told_and_too_little_mail_is_not():
    good, worse = Week(messages=1000, passed=990, policy="none"), Week(messages=900, passed=700, policy="quarantine")
    assert changes([], worse, good) == [
        "The policy went from p=none to p=quarantine.",
        "The share of mail that passes fell from 99.0% to 77.8%.",
    ]
    assert changes([], Week(messages=9, passed=0, policy=None), Week(messages=9, passed=9, policy=None)) == []
    assert changes([], Week(messages=0, passed=0, policy=None), good)[-1] == "No reports about this week have come."
