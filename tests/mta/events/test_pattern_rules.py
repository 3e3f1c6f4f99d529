"""KumoMTA's rule files load as they are, mean what they mean there, and cannot be made slow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mta.events.classifier import ReplyClassifier
from mta.events.errors import SettingsError
from mta.events.pattern_rules import PatternRules, is_pattern_file
from mta.events.reply import parse_reply
from mtascope.resources import reply_rule_files, taxonomy

FILE = (Path(__file__).parents[2] / "data" / "replies" / "kumomta.toml").read_bytes()


def rules(*files: bytes, **classes: str) -> PatternRules:
    return PatternRules(files, taxonomy(), classes)


def found(patterns: PatternRules, line: str) -> tuple[str, str] | None:
    reply = parse_reply(line)
    match = patterns.find(reply.code, reply.enhanced, reply.text)
    return (match.bounce_class, match.rule) if match is not None else None


@pytest.fixture(scope="module")
def heeding() -> ReplyClassifier:
    return ReplyClassifier.from_toml(
        taxonomy(), *reply_rule_files().values(), patterns=rules(FILE, OurPartner="recipient_refused")
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("550 5.1.1 sorry", ("bad_mailbox", "kumomta.InvalidRecipient.1")),
        ("554 Nobody works here any more", ("bad_mailbox", "kumomta.InvalidRecipient.2")),
        ("450 4.1.1 grumpy  blocklist", ("bad_mailbox", "kumomta.InvalidRecipient.1")),  # the first that matches
        ("550 on the Grumpy\r\nblocklist", ("ip_blocklisted", "kumomta.SpamBlock.1")),
        ("550 sack is bursting", ("mailbox_full", "kumomta.QuotaIssues.1")),
        ("550 partner gate closed", None),  # a class that only its operator knows
        ("250 ok", None),
    ],
)
def test_the_first_pattern_over_the_reply_on_one_line_decides(line: str, expected: tuple[str, str] | None) -> None:
    assert found(rules(FILE), line) == expected


def test_a_class_that_means_nothing_here_is_told_and_can_be_given_a_meaning() -> None:
    assert rules(FILE).unmapped == ("OurPartner",)
    mapped = rules(FILE, OurPartner="recipient_refused")
    assert mapped.unmapped == ()
    assert found(mapped, "550 partner gate closed") == ("recipient_refused", "kumomta.OurPartner.1")
    with pytest.raises(SettingsError, match="no bounce class 'sulking'"):
        rules(FILE, OurPartner="sulking")


def test_an_operators_words_win_and_a_finer_class_of_ours_stays(heeding: ReplyClassifier) -> None:
    def judged(line: str) -> tuple[str, str]:
        answer = heeding.classify(parse_reply(line))
        return answer.bounce_class, answer.rule

    assert judged("550 5.7.1 the sack is full") == ("mailbox_full", "kumomta.QuotaIssues.1")
    assert judged("550 partner gate closed, mailbox full") == ("recipient_refused", "kumomta.OurPartner.1")
    assert judged("554 5.7.1 Your domain has a low reputation")[0] == "poor_reputation"  # also KumoMTA's SpamBlock
    assert judged("554 5.7.1 Message contains a virus")[0] == "virus_detected"  # codes do not overrule words
    assert judged("421 4.7.0 Too many connections")[0] == "rate_limited"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[rules]\nInvalidRecipient = ['(?=x)y']", "not a linear-time pattern"),
        (b"[rules]\nInvalidRecipient = ['(a)\\1']", "not a linear-time pattern"),
        (b"[rules]\nInvalidRecipient = ['(']", "not a linear-time pattern"),
        (b"[rules]\nInvalidRecipient = 'x'", "a list of patterns"),
        (b"[rules]\n[other]", "one table"),
        (b"[rules", "no TOML"),
        (b"#" * (1 << 20) + b"\n[rules]\n", "limit"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(content: bytes, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        rules(content)


def test_a_file_is_told_from_ours() -> None:
    assert is_pattern_file(FILE)
    assert not any(is_pattern_file(data) for data in reply_rule_files().values())


def test_patterns_that_backtracking_engines_choke_on_take_no_longer_than_others() -> None:
    evil = rules(b"[rules]\nSpamBlock = ['(a+)+$', '(a|aa)*b$', '(.*a){20}c', '^(([a-z])+.)+[A-Z]([a-z])+$']")
    began = time.process_time()
    for _ in range(20):
        found(evil, "550 " + "a" * 65_536)
        found(evil, "550 " + "aA" * 32_768)
    assert (time.process_time() - began) / 40 < 0.05
