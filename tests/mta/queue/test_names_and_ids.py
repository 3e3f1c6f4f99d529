"""Queue names, spool ids, dead letters."""

import random
from uuid import UUID

import orjson
import pytest

from mta.queue.dead_letters import DeadLetters
from mta.queue.message import Envelope, Message, SpoolIds
from mta.queue.naming import is_label, queue_name


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("d.example", None, None), "d.example"),
        (("d.example", "acme", None), "acme@d.example"),
        (("d.example", None, "june"), "june:@d.example"),
        (("d.example", "acme", "june"), "june:acme@d.example"),
    ],
)
def test_a_queue_is_named_in_kumomtas_grammar(parts, name):
    assert queue_name(*parts) == name


def test_a_label_cannot_hold_the_marks_of_the_grammar():
    assert is_label("News-letter_1.b")
    assert not any(is_label(text) for text in ("", "a:b", "a@b", "a!b", "a b", "a\r\n", "x" * 65))


def test_a_spool_id_is_a_version_1_uuid_that_holds_its_instant():
    made = UUID(SpoolIds(lambda: 1_700_000_000_123_456, random.Random(1)).make())
    assert made.version == 1
    assert (made.time - 0x01B21DD213814000) // 10 == 1_700_000_000_123_456
    assert made.node >> 40 & 1


def test_ids_made_in_one_instant_differ_and_grow():
    ids = SpoolIds(lambda: 5, random.Random(1))
    made = [UUID(ids.make()).time for _ in range(1000)]
    assert made == sorted(set(made))


def bounce(number):
    return Message(f"{number:032x}", "a@b.example", "b.example", "b.example", Envelope("", 0, 4))


def test_a_dead_letter_keeps_the_mail_and_the_answer_and_is_counted_again_after_a_restart(tmp_path):
    letters = DeadLetters(tmp_path, max_messages=10, max_bytes=1000)
    letters.keep(bounce(1), b"mail", reason="bounced", answer="550 no", when=0)
    letters.keep(bounce(1), b"mail", reason="bounced", answer="550 no", when=0)
    letters.keep(bounce(2), b"mail", reason="expired", answer="", when=0)
    assert (tmp_path / f"{1:032x}.eml").read_bytes() == b"mail"
    assert orjson.loads((tmp_path / f"{1:032x}.json").read_bytes())["answer"] == "550 no"
    again = DeadLetters(tmp_path, max_messages=10, max_bytes=1000)
    assert again.by_reason == letters.by_reason == {"bounced": 1, "expired": 1}


@pytest.mark.parametrize(("messages", "size"), [(3, 10_000), (100, 14)])
def test_the_oldest_dead_letters_make_room(tmp_path, messages, size):
    letters = DeadLetters(tmp_path, max_messages=messages, max_bytes=size)
    for number in range(6):
        letters.keep(bounce(number), b"mail", reason="bounced", answer="", when=0)
    assert sorted(path.stem for path in tmp_path.glob("*.eml")) == [f"{number:032x}" for number in (3, 4, 5)]
