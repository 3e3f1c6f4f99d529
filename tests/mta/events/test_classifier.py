"""From replies to causes, with the rules that ship."""

import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.classifier import ReplyClassifier
from mta.events.errors import SettingsError
from mta.events.event import EventType
from mta.events.reply import EnhancedStatus, SmtpReply, parse_reply
from mtascope.resources import reply_classifier, reply_rule_files, taxonomy

RULES = reply_classifier().rules


def classify(line: str, **context):
    return reply_classifier().classify(parse_reply(line), **context)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.example], ids=lambda rule: rule.id)
def test_the_example_of_a_rule_is_decided_by_that_rule(rule):
    found = classify(rule.example)
    assert (found.rule, found.bounce_class) == (rule.id, rule.bounce_class)


def test_every_rule_names_its_source_and_all_with_phrases_have_an_example():
    assert all(rule.source for rule in RULES)
    assert [rule.id for rule in RULES if rule.phrases and not rule.example and not rule.phase] == []


def test_rule_ids_are_unique():
    assert len({rule.id for rule in RULES}) == len(RULES)


@given(
    st.text(max_size=600),
    st.none() | st.integers(min_value=200, max_value=599),
    st.none() | st.builds(EnhancedStatus, st.sampled_from([2, 4, 5]), st.integers(0, 999), st.integers(0, 999)),
)
def test_any_text_gets_a_class_of_the_taxonomy(text, code, enhanced):
    found = reply_classifier().classify(SmtpReply(code, enhanced, text))
    assert found.bounce_class in taxonomy()
    assert found.group == taxonomy()[found.bounce_class].group
    assert 0 <= found.confidence <= 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("550 5.7.1 No such user!", "bad_mailbox"),
        ("450 4.7.1 <jane@example.com>: Recipient address rejected: Greylisted for 5 minutes", "greylisted"),
        ("550 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org", "ip_blocklisted"),
        ("554 5.7.1 Your domain example.com is listed on dbl.spamhaus.org", "domain_blocklisted"),
        ("452 4.3.1 Insufficient system storage", "recipient_system_error"),
        ("552 5.2.2 Mailbox full", "mailbox_full"),
        ("552 5.3.4 Message size exceeds fixed limit", "message_too_large"),
        ("550 mailbox is full: retry timeout exceeded", "mailbox_full"),
        ("550 Too many invalid recipients", "poor_reputation"),
        ("550 Сообщение отклонено: пользователь не найден", "bad_mailbox"),
        ("550 5.1.1 用户不存在", "bad_mailbox"),
        ("552 Das Postfach ist voll", "mailbox_full"),
        ("451 a wording that nobody has seen before", "recipient_system_error"),
    ],
)
def test_the_cause_is_told_from_the_words(line, expected):
    assert classify(line).bounce_class == expected


def test_weaker_evidence_gives_a_lower_confidence():
    words = classify("550 5.1.1 User unknown").confidence
    status = classify("550 5.1.1 computer says no").confidence
    code = classify("550 computer says no").confidence
    assert words > status > code > 0


def test_the_phase_is_read_from_the_command_from_the_wrapping_or_from_the_caller():
    reply = SmtpReply(550, None, "no", "RCPT TO:<jane@example.com>")
    assert reply_classifier().classify(reply).rule == "code.550.rcpt"
    assert classify("550 no (in reply to RCPT TO command)").rule == "code.550.rcpt"
    assert classify("550 no", phase="rcpt").rule == "code.550.rcpt"


def test_the_wrapping_of_another_server_does_not_count_as_a_cause():
    bare = classify("550 Access denied")
    wrapped = classify("host mx.example.com[192.0.2.1] said: 550 Access denied (in reply to RCPT TO command)")
    assert wrapped.bounce_class == bare.bounce_class


def test_the_same_code_means_different_things_at_different_providers():
    line = "550 5.1.10 Look-up failed"
    assert classify(line).bounce_class == "bad_domain"
    assert classify(line, provider="microsoft-365").bounce_class == "bad_mailbox"
    assert classify(line, peer="example-com.mail.protection.outlook.com.").bounce_class == "bad_mailbox"


def test_the_provider_is_the_one_given_else_the_one_whose_words_these_are():
    line = "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints"
    assert classify(line).provider == "yahoo"
    assert classify(line, provider="att").provider == "att"
    assert classify("550 User unknown").provider is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", "[TSS04]"),
        ("550 5.7.1 messages weren't sent, part of their network is on our block list (S3150).", "S3150"),
        ("452 4.2.2 over quota https://support.google.com/mail/?p=OverQuotaTemp x1 - gsmtp", "OverQuotaTemp"),
        ("550 5.5.0 recipient account is blocked. LPN007_426", "LPN007_426"),
        ("550 User unknown", None),
    ],
)
def test_the_providers_own_code_is_read(line, code):
    assert classify(line).provider_code == code


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("450 Greylisted, please try again in 300 seconds", 300),
        ("450 Greylisted for 5 minutes", 300),
        ("451 Greylisting in action, please come back in 00:04:59", 299),
        ("421 rate limited, retry after 2 hours", 7200),
        ("450 try again later", None),
        ("550 message of 300 minutes length refused", None),
        ("450 try again in 99999 hours", None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_in_seconds(line, seconds):
    assert classify(line).retry_after_s == seconds


def test_the_blocklist_is_named():
    assert classify("554 5.7.1 blocked using zen.spamhaus.org").blocklist == "Spamhaus ZEN"


def test_an_expiration_keeps_the_class_of_its_last_deferral():
    assert classify("452 4.2.2 Mailbox full", type=EventType.EXPIRATION).bounce_class == "mailbox_full"
    assert classify("", type=EventType.EXPIRATION).bounce_class == "message_expired"


def test_deliveries_complaints_and_cancellations_are_named_by_their_type():
    named = {kind: classify("250 ok", type=kind).bounce_class for kind in (EventType.DELIVERY, EventType.COMPLAINT)}
    assert named == {EventType.DELIVERY: "delivered", EventType.COMPLAINT: "complaint"}


@given(st.sampled_from([rule.example for rule in RULES if rule.example]), st.randoms(use_true_random=False))
def test_other_hosts_and_ids_do_not_change_the_class(example, rng):
    mark = "".join(rng.choices(string.hexdigits, k=8)) + "1"
    changed = example.replace("192.0.2.1", f"198.51.100.{rng.randrange(1, 255)}").replace("jane@", f"{mark}@")
    assert classify(changed).bounce_class == classify(example).bounce_class


def test_an_operators_rule_behind_ours_adds_or_replaces():
    ours = reply_rule_files().values()
    theirs = b"""
    [[rule]]
    id = "site.no-dogs"
    class = "recipient_refused"
    phrases = "no dogs"
    confidence = 0.99
    [[rule]]
    id = "recipient.unknown-user"
    class = "bad_domain"
    phrases = "gone fishing"
    """
    classifier = ReplyClassifier.from_toml(taxonomy(), *ours, theirs)
    assert classifier.classify(parse_reply("550 no dogs")).rule == "site.no-dogs"
    assert classifier.classify(parse_reply("550 gone fishing")).bounce_class == "bad_domain"
    assert classifier.classify(parse_reply("550 no such user")).rule != "recipient.unknown-user"


def test_a_rule_with_an_unknown_class_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"a\.b.*no bounce class 'sad'"):
        ReplyClassifier.from_toml(taxonomy(), b'[[rule]]\nid = "a.b"\nclass = "sad"\nphrases = "a"')


def seconds(reply: SmtpReply) -> float:
    fresh = ReplyClassifier.from_toml(taxonomy(), *reply_rule_files().values())
    fresh.classify(SmtpReply(550, None, "warm up"))
    started = time.perf_counter()
    fresh.classify(reply)
    return time.perf_counter() - started


def test_64_kib_of_noise_or_of_a_rules_own_words_take_no_longer_than_one_long_reply():
    rng = random.Random(1)
    noise = "".join(rng.choices(string.printable, k=65_536))
    hostile = [noise, "a" * 65_536, "@" * 65_536, "1." * 32_768, ":" * 65_536, "((((" * 16_384, "user " * 13_107]
    assert max(seconds(SmtpReply(550, None, text)) for text in hostile) < 0.5


def test_no_rule_has_a_worst_case():
    started = time.perf_counter()
    for rule in RULES:
        bait = " ".join((rule.example or rule.id).split()[:-1]) + " "
        reply_classifier().classify(SmtpReply(550, None, (bait * 4_096)[:65_536]))
    assert time.perf_counter() - started < 0.1 * len(RULES)
