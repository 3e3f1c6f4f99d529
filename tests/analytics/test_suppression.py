"""The suppression list: what puts a recipient on it, what takes one off, and what the MTA gets to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analytics.care import erase
from analytics.settings import StoreSettings, SuppressionSettings
from analytics.store import Store
from analytics.suppression import Entry, add, entries, find, publish, remove
from mta.events.errors import SettingsError
from mta.events.event import Event, EventType, Origin
from mta.events.instants import DAY, SECOND
from mta.events.intake import Batch
from mta.events.pseudonym import Keyring
from mta.events.reply import SmtpReply
from mta.events.suppression import SuppressionList
from mtascope.resources import taxonomy

START = 1_780_000_000_000_000
KEYRING = Keyring(b"i" * 32, {1: b"r" * 32})


def mail(number: int, end: EventType = EventType.BOUNCE, code: int = 550, **changes: Any) -> tuple[Event, ...]:
    """Received and ended: by default a hard bounce of ann@example.org, a second after mail `number` was sent."""
    common: dict[str, Any] = {
        "node": "n", "mta": "mtascope", "queue_id": f"q{number}", "recipient": "ann@example.org",
        "message_id": f"{number}@x", "created": START + number * SECOND, "tenant": "acme",
    } | changes  # fmt: skip
    at = START + number * SECOND
    reply = SmtpReply(250 if end is EventType.DELIVERY else code, None, "said")
    origin = common.pop("origin", Origin.REMOTE)
    return (
        Event(type=EventType.RECEPTION, time=at, **common),
        Event(type=end, time=at + SECOND, attempt=1, reply=reply, origin=origin, **common),
    )


def report(kind: EventType, number: int, **changes: Any) -> tuple[Event, ...]:
    """A late bounce or a complaint about mail `number`, by its Message-ID."""
    common: dict[str, Any] = {
        "node": "n", "mta": "mtascope", "queue_id": f"r{number}", "recipient": "ann@example.org",
        "original_recipient": "ann@example.org", "original_message_id": f"{number}@x",
        "created": START + 60 * SECOND, "reply": SmtpReply(550, None, "no such user"),
    } | changes  # fmt: skip
    return (Event(type=kind, time=START + 60 * SECOND, **common),)


def load(store: Store, *records: tuple[Event, ...]) -> None:
    store.load(Batch("test", records))


def reasons(store: Store, address: str = "ann@example.org") -> list[tuple[str, str | None, str]]:
    return [(entry.reason, entry.bounce_class, entry.tenant) for entry in find(store, address)]


def test_a_hard_bounce_suppresses_for_everybody_for_a_year(store: Store) -> None:
    load(store, mail(1))
    (entry,) = find(store, "Ann@EXAMPLE.org")
    assert (entry.reason, entry.bounce_class, entry.tenant, entry.domain) == (
        "bounce",
        "bad_mailbox",
        "",
        "example.org",
    )
    assert entry.expires == START + 2 * SECOND + 365 * DAY
    assert entry.address is None
    assert store.query("SELECT count(*) FROM event WHERE event_id = ?::UUID", [entry.source]) == [(1,)]


@pytest.mark.parametrize(
    "failed",
    [
        mail(1, code=554),  # a block listing says nothing about the recipient
        mail(1, EventType.DEFERRAL, 550),
        mail(1, EventType.DELIVERY),
        mail(1, origin=Origin.LOCAL),
    ],
)
def test_what_is_not_the_recipients_fault_suppresses_nobody(store: Store, failed: tuple[Event, ...]) -> None:
    load(store, failed)
    assert reasons(store) == []
    assert store.query("SELECT count(*) FROM suppression_strike") == [(0,)]


def test_a_full_mailbox_suppresses_at_the_third_mail_in_thirty_days(store: Store) -> None:
    load(store, mail(1, code=452), mail(2, code=452))
    load(store, mail(1, code=452), mail(2, code=452))  # read again
    assert reasons(store) == []
    load(store, mail(3, code=452))
    assert reasons(store) == [("bounce", "mailbox_full", "")]
    assert store.query("SELECT count(*) FROM suppression_strike") == [(0,)]


def test_a_delivery_in_between_starts_the_count_anew(store: Store) -> None:
    load(store, mail(1, code=452), mail(2, code=452), mail(3, EventType.DELIVERY))
    load(store, mail(4, EventType.DELIVERY))
    load(store, mail(5, code=452), mail(6, code=452))
    assert reasons(store) == []
    load(store, mail(7, code=452))
    assert reasons(store) == [("bounce", "mailbox_full", "")]


def test_failures_further_apart_than_the_rule_says_do_not_add_up(store: Store, clock: Any) -> None:
    month = 31 * DAY // SECOND
    clock.now = START + 70 * DAY
    load(store, mail(1, code=452), mail(month, code=452), mail(2 * month, code=452))
    assert reasons(store) == []


def test_a_complaint_suppresses_for_its_tenant_for_good_when_it_has_found_its_send(
    open_with: Callable[..., Store],
) -> None:
    store = open_with(SuppressionSettings())
    redacted = {"original_recipient": None, "recipient": "fbl@feedback.example"}
    load(store, report(EventType.COMPLAINT, 1, feedback_type="abuse", **redacted))
    assert reasons(store) == []
    load(store, mail(1, EventType.DELIVERY))
    assert reasons(store) == [("complaint", "complaint", "acme")]
    assert find(store, "ann@example.org")[0].expires is None
    assert find(store, "ann@example.org", "other") == []


def test_this_is_not_spam_suppresses_nobody(open_with: Callable[..., Store]) -> None:
    store = open_with(SuppressionSettings())
    load(store, mail(1, EventType.DELIVERY))
    load(store, report(EventType.COMPLAINT, 1, feedback_type="not-spam"))
    assert reasons(store) == []


def test_a_late_bounce_counts_only_for_a_send_that_there_was(store: Store) -> None:
    load(store, report(EventType.OOB_BOUNCE, 9))
    load(store, report(EventType.OOB_BOUNCE, 8, original_message_id=None))
    assert reasons(store) == []
    load(store, mail(9, EventType.DELIVERY))
    assert reasons(store) == [("bounce", "bad_mailbox", "")]


def test_a_signed_return_path_finds_the_recipient_that_the_bounce_does_not_name(store: Store) -> None:
    load(store, mail(1, EventType.DELIVERY))
    unit = KEYRING.unit_id("n", "q1", "ann@example.org")
    load(store, report(EventType.OOB_BOUNCE, 1, recipient="bob@else.example", original_recipient="bob@else.example",
                       original_message_id=None, original_unit=unit))  # fmt: skip
    assert reasons(store) == [("bounce", "bad_mailbox", "")]
    assert reasons(store, "bob@else.example") == []


def test_an_operator_may_believe_signed_reports_only(tmp_path: Path, open_with: Callable[..., Store]) -> None:
    store = open_with(SuppressionSettings(reports_matched_by=("token",)))
    load(store, mail(1, EventType.DELIVERY))
    load(store, report(EventType.OOB_BOUNCE, 1))
    assert reasons(store) == []


def test_people_add_and_remove(store: Store, clock: Any) -> None:
    assert add(store, [Entry(address="Bob@Example.org", note="by phone"), Entry(address="cy@x.org", tenant="t")]) == 2
    assert add(store, [Entry(address="bob@example.org")]) == 0
    assert reasons(store, "bob@example.org") == [("manual", None, "")]
    assert [(entry.domain, entry.tenant) for entry in entries(store, tenant="t")] == [("x.org", "t")]
    assert remove(store, "BOB@example.org") == 1
    assert remove(store, "bob@example.org") == 0
    add(store, [Entry(address="dee@x.org", expires=clock.now + SECOND)])
    clock.now += 2 * SECOND
    assert find(store, "dee@x.org") == []


def test_what_lasts_longer_stays(store: Store) -> None:
    add(store, [Entry(address="ann@example.org", reason="complaint")])
    load(store, mail(1))
    assert reasons(store) == [("complaint", None, "")]
    assert find(store, "ann@example.org")[0].expires is None


def test_after_a_removal_old_strikes_do_not_count(store: Store) -> None:
    load(store, mail(1, code=452), mail(2, code=452))
    remove(store, "ann@example.org")
    load(store, mail(3, code=452))
    assert reasons(store) == []


def test_addresses_are_kept_in_clear_only_if_they_are_to_be(store: Store, open_with: Callable[..., Store]) -> None:
    add(store, [Entry(address="bob@example.org")])
    assert find(store, "bob@example.org")[0].address is None
    clear = open_with(SuppressionSettings(keep_addresses=True))
    add(clear, [Entry(address="Bob@example.org")])
    assert find(clear, "bob@example.org")[0].address == "bob@example.org"


def test_an_export_is_an_import_of_the_same_installation(store: Store, open_with: Callable[..., Store]) -> None:
    load(store, mail(1))
    add(store, [Entry(address="bob@example.org", tenant="t", reason="asked")])
    other = open_with(SuppressionSettings())
    found = [Entry(recipient=e.recipient, epoch=e.epoch, tenant=e.tenant, reason=e.reason) for e in entries(store)]
    assert add(other, found) == 2
    assert [entry.position for entry in entries(other)] == [entry.position for entry in entries(store)]
    with pytest.raises(SettingsError, match="pseudonym of this installation"):
        add(other, [Entry(recipient=1, epoch=9)])


def test_pages_follow_one_another(store: Store) -> None:
    add(store, [Entry(address=f"u{number}@x.org") for number in range(7)])
    seen: list[str] = []
    after = ""
    while page := entries(store, after=after, limit=3):
        seen += [entry.position for entry in page]
        after = page[-1].position
    assert seen == sorted(seen)
    assert len(set(seen)) == 7


def test_an_erased_person_stays_suppressed_and_nothing_tells_who_it_is(open_with: Callable[..., Store]) -> None:
    store = open_with(SuppressionSettings(keep_addresses=True))
    add(store, [Entry(address="ann@example.org", note="Ann, 5th floor")])
    load(store, mail(1, code=452))
    erased = erase(store, "ann@example.org")
    assert erased.suppressions == 1
    (entry,) = find(store, "ann@example.org")
    assert (entry.address, entry.note, entry.source, entry.domain) == (None, None, None, "")
    assert store.query("SELECT count(*) FROM suppression_strike") == [(0,)]


def test_the_mta_reads_what_was_published_and_only_changes_are_published(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out" / "list"
    load(store, mail(1))
    add(store, [Entry(address="bob@example.org", tenant="t", reason="asked")])
    assert publish(store, path)
    assert not publish(store, path)
    read = SuppressionList(path.read_bytes())
    now = store.clock()
    ann, bob = ([KEYRING.recipient_hash(f"{name}@example.org")] for name in ("ann", "bob"))
    found = read.find(ann, "anybody", now)
    assert found is not None
    assert found.reason == "bounce"
    assert read.find(bob, "", now) is None
    found = read.find(bob, "t", now)
    assert found is not None
    assert (found.reason, found.tenant_only) == ("asked", True)
    load(store, mail(2, recipient="cy@example.org"))
    assert publish(store, path)
    assert SuppressionList(path.read_bytes()).version == read.version + 1
    assert path.stat().st_mode & 0o077 == 0


def test_an_empty_list_is_published_too(store: Store, tmp_path: Path) -> None:
    assert publish(store, tmp_path / "list")
    assert len(SuppressionList((tmp_path / "list").read_bytes())) == 0


def test_the_default_rules_are_those_of_the_taxonomy() -> None:
    once = {name for rule in SuppressionSettings().rules for name in rule.classes if rule.times == 1}
    repeated = {name for rule in SuppressionSettings().rules for name in rule.classes if rule.times > 1}
    known = taxonomy().values()
    assert once == {each.name for each in known if each.suppress == "now"} - {"suppressed"}
    assert repeated == {each.name for each in known if each.suppress == "after_repeats"}


@pytest.fixture
def open_with(tmp_path: Path, clock: Any) -> Any:
    """Opens a second store with other settings."""
    from analytics.enrich import Enricher
    from mtascope.resources import provider_map, reply_classifier

    opened: list[Store] = []

    def open_it(settings: SuppressionSettings) -> Store:
        enricher = Enricher(KEYRING, provider_map(), taxonomy(), reply_classifier())
        opened.append(
            Store(tmp_path / f"other{len(opened)}.duckdb", enricher, StoreSettings(suppression=settings), clock=clock)
        )
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()
