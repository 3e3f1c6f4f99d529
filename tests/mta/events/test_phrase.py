"""Phrases and the index that finds them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.errors import SettingsError
from mta.events.phrase import GAP, PhraseIndex, words


def index(*phrases: str) -> PhraseIndex:
    made = PhraseIndex()
    for owner, phrase in enumerate(phrases):
        made.add(phrase, owner)
    return made


def owners(made: PhraseIndex, text: str) -> list[int]:
    return [owner for owner, _, _, _ in made.find(words(text))]


def test_case_punctuation_and_accents_do_not_matter():
    assert words("Boîte-pleine: <{addr}>, 5.2.2!") == ["boite", "pleine", "{addr}", "5.2.2"]


def test_text_that_was_decoded_wrongly_is_read_as_what_it_was():
    assert words("ящик".encode().decode("latin-1")) == words("ящик")


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("no such user", "550 No such user here"),
        ("(user|mailbox) unknown", "mailbox unknown"),
        ("mailbox (is |)full", "Mailbox full"),
        ("mailbox (is |)full", "mailbox is full"),
        ("(dis|in)active account", "your inactive account"),
        ("authori(z|s)ed", "not authorised"),
        ("(a (b|c)|d) e", "a c e"),
        ("(a (b|c)|d) e", "d e"),
        ("sender ... blocked", "sender <x> has been blocked"),
        ("blocked using {host}", "blocked using {host}"),
        ("用户不存在", "550 该用户不存在。"),
        ("user (not |un)known", "user unknown"),
    ],
)
def test_a_phrase_is_found_in_a_text_that_says_it(phrase, text):
    assert owners(index(phrase), text) == [0]


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("no such user", "no such luck, user"),
        ("user", "users"),
        ("sender ... blocked", "blocked sender"),
        ("sender ... blocked", "sender " + "word " * (GAP + 1) + "blocked"),
        ("mailbox (is |)full", "mailbox is not full"),
    ],
)
def test_a_phrase_is_not_found_in_a_text_that_says_something_else(phrase, text):
    assert owners(index(phrase), text) == []


def test_a_match_tells_how_many_words_were_read():
    assert index("no such (local |)user").find(words("550 no such local user here")) == [(0, 1, 5, 4)]


@pytest.mark.parametrize("phrase", ["(a|b", "a)", "(a|)", "", "a ... ", "..."])
def test_a_phrase_that_cannot_be_read_is_refused_by_name(phrase):
    with pytest.raises(SettingsError):
        index(phrase)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "(a|b) c", "a ... c", "(a|) b"]), min_size=1),
    st.lists(st.sampled_from("abc")),
)
def test_all_phrases_together_find_what_each_finds_alone(phrases, sequence):
    together = {owner for owner, _, _, _ in index(*phrases).find(sequence)}
    alone = {owner for owner, phrase in enumerate(phrases) if index(phrase).find(sequence)}
    assert together == alone


def test_doubling_a_hostile_text_at_most_about_doubles_the_time():
    made = index("(a |)(a |)(a |)(a |)(a |)(a |)(a |)b", "a ... a ... a ... b")

    def seconds(count: int) -> float:
        started = time.perf_counter()
        for _ in range(5):
            made.find(["a"] * count)
        return time.perf_counter() - started

    seconds(2_000)
    assert seconds(16_000) < 8 * 3 * max(seconds(2_000), 0.001)
