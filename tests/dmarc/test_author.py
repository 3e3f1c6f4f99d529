"""Whom a From field names, whatever it is dressed in."""

from __future__ import annotations

import time

import pytest

from dmarc.author import address_domain, address_domains


@pytest.mark.parametrize(
    ("field", "domains"),
    [
        ("a@Example.COM", ("example.com",)),
        ("Reports <a@example.com>", ("example.com",)),
        ('"boss@bank.example" <x@evil.example>', ("evil.example",)),
        ("(boss@bank.example) x@evil.example (a (nested) one)", ("evil.example",)),
        ('"a b"@example.com', ("example.com",)),
        (r'"quote \" and @ inside" <x@example.com>', ("example.com",)),
        ("a@one.example, B <b@two.example>, c@one.example", ("one.example", "two.example")),
        ("<@relay.example:user@example.com>", ("example.com",)),
        ("Team: a@example.com;", ("example.com",)),
        ("a@bücher.example", ("xn--bcher-kva.example",)),
        ("nobody", ()),
        (None, ()),
    ],
)
def test_names_and_comments_never_speak_for_a_domain(field, domains):
    assert address_domains(field) == domains
    assert address_domain(field) == (domains[0] if domains else None)


def test_brackets_without_end_cost_nothing():
    began = time.process_time()
    assert address_domain("(" * 100_000 + "a@example.com") is None
    assert time.process_time() - began < 0.1
