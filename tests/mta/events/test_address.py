"""Addresses are read leniently, compared strictly and hidden in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.address import canonical_address, canonical_domain, mask_addresses, split_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("user@example.com", ("user", "example.com")),
        ("<user@example.com>", ("user", "example.com")),
        (" user@example.com ", ("user", "example.com")),
        ('"odd@local part"@example.com', ('"odd@local part"', "example.com")),
        ("<@relay.example,@b.example:user@example.com>", ("user", "example.com")),
        ("postmaster", ("postmaster", "")),
        ("<>", ("", "")),
        ("", ("", "")),
        ("user@", ("user", "")),
    ],
)
def test_an_address_is_taken_apart_at_its_last_at(text: str, parts: tuple[str, str]) -> None:
    assert split_address(text) == parts


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Example.COM.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("under_score.example", "under_score.example"),
        ("ärger..example", "ärger..example"),
    ],
)
def test_two_spellings_of_a_domain_compare_equal(written: str, canonical: str) -> None:
    assert canonical_domain(written) == canonical


def test_two_spellings_of_a_mailbox_compare_equal() -> None:
    assert canonical_address("<Ada.Lovelace@BÜCHER.Example>") == canonical_address("ada.lovelace@xn--bcher-kva.example")


@given(st.text(max_size=80))
def test_any_text_has_a_canonical_form_that_is_its_own(text: str) -> None:
    once = canonical_address(text)
    assert canonical_domain(split_address(once)[1]) == split_address(once)[1] or not once.isascii()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("550 <ada@example.com>: no such user", "550 <*@example.com>: no such user"),
        ("ada.b+tag@example.com, bob@example.org", "*@example.com, *@example.org"),
        ("bounce-ada=example.com@list.example unknown", "*@list.example unknown"),
        ('"ada b"@example.com', "*@example.com"),
        ("mailto:ada@example.com", "mailto:*@example.com"),
        ("no address here", "no address here"),
        ("5 @ 3 pm", "5 @ 3 pm"),
    ],
)
def test_local_parts_are_masked_and_domains_stay(text: str, masked: str) -> None:
    assert mask_addresses(text) == masked


@given(
    st.from_regex(r"[a-z][a-z0-9._+-]{0,20}", fullmatch=True).filter(lambda local: len(local) > 3),
    st.text(alphabet=" <>():;,.'\n", min_size=1, max_size=3),
)
def test_no_plain_address_survives_masking(local: str, around: str) -> None:
    address = f"{local}@example.com"
    assert address not in mask_addresses(f"x{around}{address}{around}x")


def test_masking_noise_takes_time_in_proportion() -> None:
    import time

    def cost(size: int) -> float:
        text = "a" * size + "@" * 3 + "=." * size
        return min(_timed(lambda: mask_addresses(text), time.perf_counter) for _ in range(3))

    small, large = cost(20_000), cost(80_000)
    assert large < 40 * small + 0.05


def _timed(work, clock) -> float:
    began = clock()
    work()
    return clock() - began
