"""KumoMTA's record: golden events for each type and age, what is refused and why, and never another exception."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.formats.kumomta import MAX_RECIPIENTS, parse_line
from collector.formats.outcome import BLANK, Ignored
from mta.events.errors import ParseError
from mta.events.event import KUMOMTA_TYPES, Event, Origin

GOLDEN = {path.stem: json.loads(path.read_text()) for path in Path(__file__).parents[2].glob("data/kumomta/*.json")}
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Event)}


def parse(record: dict[str, Any], **changes: Any):
    return parse_line(json.dumps(record | changes).encode())


def told(event: Event) -> dict[str, Any]:
    """The fields of an event that say anything, as the golden files write them."""
    fields = {name: getattr(event, name) for name, default in DEFAULTS.items() if getattr(event, name) != default}
    if event.reply:
        enhanced = str(event.reply.enhanced) if event.reply.enhanced else None
        fields["reply"] = dataclasses.asdict(event.reply) | {"enhanced": enhanced}
    return fields


@pytest.fixture
def delivery() -> dict[str, Any]:
    return GOLDEN["delivery"]["record"]


@pytest.fixture
def deferral() -> dict[str, Any]:
    return GOLDEN["deferral-remote"]["record"]


@pytest.mark.parametrize("name", [name for name in GOLDEN if "events" in GOLDEN[name]])
def test_a_record_gives_exactly_its_golden_events(name):
    assert [told(event) for event in parse(GOLDEN[name]["record"])] == GOLDEN[name]["events"]


@pytest.mark.parametrize("name", [name for name in GOLDEN if "ignored" in GOLDEN[name]])
def test_the_nodes_talk_with_itself_is_ignored_by_kind(name):
    assert parse(GOLDEN[name]["record"]) == Ignored(GOLDEN[name]["ignored"])


@pytest.mark.parametrize("name", [name for name in GOLDEN if "refused" in GOLDEN[name]])
def test_a_type_that_is_not_known_is_refused_by_name(name):
    with pytest.raises(ParseError) as refusal:
        parse(GOLDEN[name]["record"])
    assert {"reason": refusal.value.reason, "where": refusal.value.where} == GOLDEN[name]["refused"]


def test_every_type_of_the_schema_has_a_golden_record():
    assert {case["record"]["type"] for case in GOLDEN.values()} >= {*KUMOMTA_TYPES, "Any"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", 7),
        ("id", 7),
        ("sender", ["a"]),
        ("recipient", 7),
        ("recipient", ["a@b.example", None]),
        ("queue", {}),
        ("size", "1047"),
        ("size", True),
        ("size", -1),
        ("size", 2**63),
        ("size", 10.5),
        ("response", "250 ok"),
        ("response", {"code": "250"}),
        ("response", {"code": 2500}),
        ("response", {"code": 250, "content": ["ok"]}),
        ("response", {"code": 250, "command": 1}),
        ("response", {"code": 250, "enhanced_code": "2.0.0"}),
        ("response", {"code": 250, "enhanced_code": {"class": 2, "subject": 0}}),
        ("response", {"code": 250, "enhanced_code": {"class": 2, "subject": True, "detail": 0}}),
        ("peer_address", "192.0.2.1"),
        ("peer_address", {"name": 1}),
        ("peer_address", {"name": "mx", "addr": 1}),
        ("event_time", "yesterday"),
        ("event_time", "2025-09-12T11:08:01"),
        ("event_time", "1969-12-31T23:59:59Z"),
        ("event_time", 1757675281),
        ("created_time", "12 Sep 2025"),
        ("num_attempts", "0"),
        ("num_attempts", -1),
        ("num_attempts", 2**40),
        ("egress_pool", 1),
        ("egress_source", []),
        ("source_address", "192.0.2.1:25"),
        ("source_address", {"address": 25}),
        ("meta", []),
        ("headers", "Message-ID: <a@b>"),
        ("headers", {"Message-ID": 7}),
        ("headers", {"Message-ID": ["<a@b>", 7]}),
        ("nodeid", 7),
        ("tls_protocol_version", 1.3),
    ],
)
def test_a_field_of_the_wrong_kind_refuses_the_record_and_is_named(delivery, field, value):
    with pytest.raises(ParseError) as refusal:
        parse(delivery, **{field: value})
    assert refusal.value.reason == "malformed"
    assert refusal.value.where is not None
    assert refusal.value.where.split(".")[0] == field


def test_a_time_beyond_what_can_be_written_is_refused(delivery):
    with pytest.raises(ParseError, match="timestamp"):
        parse(delivery, event_time=None, timestamp=10**18)


@pytest.mark.parametrize(
    ("field", "named"),
    [("type", "type"), ("id", "id"), ("recipient", "recipient"), ("feedback_report", "feedback_report")],
)
@pytest.mark.parametrize("absence", ["absent", "null", "empty"])
def test_a_record_that_lacks_what_it_is_counted_by_is_refused(field, named, absence):
    record = dict(GOLDEN["feedback"]["record"])
    if absence == "absent":
        del record[field]
    else:
        record[field] = None if absence == "null" or field == "feedback_report" else ""
    with pytest.raises(ParseError) as refusal:
        parse(record)
    assert (refusal.value.where, refusal.value.reason) in {(named, "missing-field"), ("type", "unknown-type")}


def test_a_record_without_any_time_is_refused(delivery):
    for key in ("event_time", "timestamp"):
        delivery = {name: value for name, value in delivery.items() if name != key}
    with pytest.raises(ParseError, match="event_time or timestamp: missing"):
        parse(delivery)


def test_an_empty_list_of_recipients_is_refused(delivery):
    with pytest.raises(ParseError, match="recipient: missing"):
        parse(delivery, recipient=[])


def test_a_record_with_too_many_recipients_is_refused(delivery):
    with pytest.raises(ParseError) as refusal:
        parse(delivery, recipient=["a@b.example"] * (MAX_RECIPIENTS + 1))
    assert refusal.value.reason == "limit"


@pytest.mark.parametrize("kept", ["type", "id", "recipient", "timestamp"])
def test_every_key_but_four_may_be_absent(delivery, kept):
    needed = {"type", "id", "recipient", "timestamp"}
    (event,) = parse({key: value for key, value in delivery.items() if key in needed})
    assert (event.node, event.sender, event.reply, event.attempt, event.created) == ("", None, None, None, None)
    with pytest.raises(ParseError):
        parse({key: value for key, value in delivery.items() if key in needed - {kept}})


def test_a_record_that_does_not_name_its_node_gets_the_name_given(delivery):
    line = json.dumps({key: value for key, value in delivery.items() if key != "nodeid"}).encode()
    (event,) = parse_line(line, "mx7")
    assert event.node == "mx7"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"garbage", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"type":"Delivery"', "not JSON"),
        (b'{"type":"\xed\xa0\x80"}', "not JSON"),
        (b"[]", "a JSON object was expected, not an array"),
        (b'"text"', "a JSON object was expected, not a string"),
        (b"12", "a JSON object was expected, not an integer"),
        (b"null", "a JSON object was expected, not null"),
        (b"[" * 100_000, "not JSON"),
        (b"time,id,recipient", "not JSON"),
    ],
)
def test_a_line_that_is_no_object_is_refused(line, problem):
    with pytest.raises(ParseError, match=problem) as refusal:
        parse_line(line)
    assert refusal.value.reason == "malformed"


@pytest.mark.parametrize("line", [b"", b"  ", b"\r"])
def test_a_blank_line_is_ignored(line):
    assert parse_line(line) == BLANK


def test_a_carriage_return_at_the_end_of_a_line_is_harmless(delivery):
    line = json.dumps(delivery).encode()
    assert parse_line(line + b"\r") == parse_line(line)


@pytest.mark.parametrize(
    ("address", "ip"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:25", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:25", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("/run/lmtp.sock", None),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_the_peers_ip_is_read_in_every_notation(delivery, address, ip):
    (event,) = parse(delivery, peer_address={"name": "mx", "addr": address})
    assert event.peer_ip == ip


@pytest.mark.parametrize(
    ("queue", "campaign", "tenant"),
    [
        ("spring:acme@d.example", "spring", "acme"),
        ("acme@d.example", None, "acme"),
        ("spring:@d.example", "spring", None),
        ("d.example", None, None),
        ("spring:acme@d.example!route.example", "spring", "acme"),
        ("d.example!relay@route.example", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_campaign_and_tenant_are_read_from_the_queues_name(delivery, queue, campaign, tenant):
    (event,) = parse(delivery, queue=queue)
    assert (event.campaign, event.tenant) == (campaign, tenant)


def test_campaign_and_tenant_in_meta_fill_what_the_queue_does_not_say(delivery):
    (event,) = parse(delivery, queue="acme@d.example", meta={"tenant": "other", "campaign": "spring"})
    assert (event.campaign, event.tenant) == ("spring", "acme")


@pytest.mark.parametrize(
    ("content", "enhanced", "text"),
    [
        ("4.7.0 try later", "4.7.0", "try later"),
        ("4.7.0-try later", "4.7.0", "try later"),
        ("5.1.1", "5.1.1", ""),
        ("try 4.7.0 later", None, "try 4.7.0 later"),
        ("421 busy", None, "421 busy"),
        ("5.1 odd", None, "5.1 odd"),
    ],
)
def test_an_enhanced_code_left_in_the_text_is_taken_out_of_it(deferral, content, enhanced, text):
    (event,) = parse(deferral, response={"code": 421, "enhanced_code": None, "content": content})
    assert (str(event.reply.enhanced) if event.reply.enhanced else None, event.reply.text) == (enhanced, text)


def test_an_enhanced_code_that_no_standard_knows_is_unknown_and_the_record_stands(deferral):
    odd = {"class": 9, "subject": 1, "detail": 1}
    (event,) = parse(deferral, response={"code": 421, "enhanced_code": odd, "content": "no"})
    assert event.reply.enhanced is None


def test_a_failure_at_a_peer_is_remote_even_when_an_old_record_does_not_say_the_protocol(deferral):
    (event,) = parse({key: value for key, value in deferral.items() if key != "delivery_protocol"}, peer_address=None)
    assert event.origin is Origin.REMOTE


def test_rejections_of_one_second_are_told_apart_by_what_else_they_say():
    record = GOLDEN["rejection-oldest"]["record"]
    twins = [parse(record), parse(record), parse(record, session_id="another")]
    ordinals = [events[0].ordinal for events in twins]
    assert ordinals[0] == ordinals[1] != ordinals[2]
    assert all(0 < ordinal < 2**31 for ordinal in ordinals)


def test_the_message_id_is_found_in_headers_before_meta(delivery):
    (event,) = parse(delivery, headers={"X": "y", "MESSAGE-ID": " <h@a.example> "}, meta={"message_id": "m@a.example"})
    assert event.message_id == "h@a.example"


@pytest.mark.parametrize("message", [[256], ["a"], [1.5], 7, {}])
def test_a_returned_message_that_is_neither_text_nor_bytes_is_refused(message):
    record = GOLDEN["feedback"]["record"]
    report = record["feedback_report"] | {"original_message": message}
    with pytest.raises(ParseError, match=r"feedback_report\.original_message"):
        parse(record, feedback_report=report)


def test_a_refusal_names_the_field_and_never_its_value(delivery):
    with pytest.raises(ParseError) as refusal:
        parse(delivery, sender={"secret": "ann@mailbox.example"})
    assert "ann" not in str(refusal.value)


def outcome(line: bytes) -> object:
    """What a line gives; anything but events, a kind or a ParseError fails the test."""
    try:
        return parse_line(line)
    except ParseError as error:
        return error


@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_a_kind_or_a_parse_error(line):
    assert outcome(line) is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths(record: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every field of a record, and of the objects in it."""
    found = []
    for key, value in record.items():
        found.append((*above, key))
        if isinstance(value, dict):
            found += paths(value, (*above, key))
    return found


def with_value(record: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    key, *rest = path
    return record | {key: with_value(record.get(key) or {}, tuple(rest), value) if rest else value}


_READ_FROM_META = ("tenant", "campaign", "message_id", "original_message_id", "mtascope_seq", "mtascope_direction")
PLACES = [
    (name, path)
    for name, case in sorted(GOLDEN.items())
    for path in [*paths(case["record"]), ("session_id",), *(("meta", key) for key in _READ_FROM_META)]
]


@given(st.sampled_from(PLACES), _JSON)
def test_any_value_anywhere_gives_events_or_a_kind_or_a_parse_error(place, value):
    name, path = place
    found = outcome(json.dumps(with_value(GOLDEN[name]["record"], path, value)).encode())
    if isinstance(found, tuple):
        assert found
        orjson.dumps([dataclasses.asdict(event) for event in found])


@pytest.mark.parametrize("value", [7, [], {}, "", "x", True, [[[]]], {"a": []}], ids=repr)
def test_each_value_in_each_place_gives_events_or_a_kind_or_a_parse_error(value):
    for name, path in PLACES:
        assert outcome(json.dumps(with_value(GOLDEN[name]["record"], path, value)).encode())


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_record_cut_anywhere_is_refused_or_blank(name):
    line = json.dumps(GOLDEN[name]["record"]).encode()
    for cut in range(1, len(line)):
        assert isinstance(outcome(line[:cut]), ParseError)


@pytest.mark.parametrize(
    ("told", "domain"),
    [
        ({"meta": {"dkim_domain": "News.Example"}}, "news.example"),
        ({"headers": {"DKIM-Signature": "v=1; c=relaxed;\r\n\td=News.example; s=k; b=d=no.example"}}, "news.example"),
        ({"headers": {"dkim-signature": ["d=first.example; s=k", "d=second.example"]}}, "first.example"),
        ({"headers": {"DKIM-Signature": "no signature"}}, None),
        ({}, None),
    ],
)
def test_who_signed_is_read_from_meta_data_or_the_logged_signature(told: dict[str, Any], domain: str | None) -> None:
    record = {
        "type": "Delivery",
        "id": "x",
        "nodeid": "n",
        "recipient": "u@gmail.com",
        "timestamp": 1_780_000_000,
        **told,
    }
    [event] = parse_line(orjson.dumps(record))  # type: ignore[misc]
    assert event.dkim_domain == domain
