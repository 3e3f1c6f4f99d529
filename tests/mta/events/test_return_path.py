"""Signed return paths: what they carry, and what is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.instants import DAY
from mta.events.pseudonym import Keyring
from mta.events.return_path import ReturnPaths, Standing, is_tagged

NOW = 1_767_225_600_000_000
KEYRING = Keyring(b"i" * 32, {1: b"a" * 32})
PATHS = ReturnPaths(KEYRING)
DOMAIN = "bounces.example.com"


@given(unit=st.integers(0, 2**64 - 1), days=st.integers(0, 30), fold=st.sampled_from([str.upper, str.lower, str.title]))
def test_a_return_path_tells_its_unit_whatever_the_case_for_thirty_days(unit: int, days: int, fold: object) -> None:
    address = PATHS.make(unit, DOMAIN, NOW)
    token = PATHS.read(fold(address), NOW + days * DAY)  # type: ignore[operator]
    assert (token.standing, token.unit) == (Standing.VALID, unit)
    assert len(address.rpartition("@")[0]) <= 64


@given(position=st.integers(2, 33), other=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_return_path_with_one_other_character_is_forged(position: int, other: str) -> None:
    address = PATHS.make(7, DOMAIN, NOW)
    changed = address[:position] + other + address[position + 1 :]
    assert (PATHS.read(changed, NOW).standing is Standing.VALID) == (changed == address)


@given(st.text(max_size=80))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert PATHS.read(text, NOW).standing is Standing.FORGED


def test_a_return_path_belongs_to_its_domain() -> None:
    assert PATHS.read(PATHS.make(7, DOMAIN, NOW).replace("bounces", "other"), NOW).standing is Standing.FORGED


@pytest.mark.parametrize("domain", ["Bounces.Example.com.", "bounces.example.COM"])
def test_the_spelling_of_the_domain_does_not_matter(domain: str) -> None:
    local = PATHS.make(7, DOMAIN, NOW).partition("@")[0]
    assert PATHS.read(f"<{local}@{domain}>", NOW).unit == 7


def test_an_old_return_path_is_known_but_not_believed() -> None:
    token = PATHS.read(PATHS.make(7, DOMAIN, NOW), NOW + 31 * DAY)
    assert (token.standing, token.unit) == (Standing.EXPIRED, None)


def test_after_a_rotation_new_paths_use_the_new_key_and_old_ones_are_read_until_their_key_is_destroyed() -> None:
    rotated = ReturnPaths(Keyring(b"i" * 32, {1: b"a" * 32, 2: b"b" * 32}))
    destroyed = ReturnPaths(Keyring(b"i" * 32, {2: b"b" * 32}))
    old, new = PATHS.make(7, DOMAIN, NOW), rotated.make(7, DOMAIN, NOW)
    assert (rotated.read(old, NOW).unit, rotated.read(new, NOW).unit) == (7, 7)
    assert PATHS.read(new, NOW).standing is Standing.FORGED
    assert destroyed.read(old, NOW).standing is Standing.FORGED


@pytest.mark.parametrize(
    "sender", ["prvs=1234abcdef=me@x.org", "btv1==abc==me@x.org", "SRS0=ab=cd=y.org=u@x.org", "list+ann=y.org@x.org"]
)
def test_a_sender_that_carries_somebodys_tag_is_seen(sender: str) -> None:
    assert is_tagged(sender)


@pytest.mark.parametrize("sender", ["news@x.org", "<news+may@x.org>", "srs@x.org", "b-1@x.org"])
def test_a_plain_sender_is_not_tagged(sender: str) -> None:
    assert not is_tagged(sender)
