"""Addresses in free text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.mail.addresses import find_addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<ada@customer.example>: unknown", ["ada@customer.example"]),
        ("'ada@customer.example'", ["ada@customer.example"]),
        ("rfc822;ada@customer.example", ["ada@customer.example"]),
        ("dda:SMTP=ada@customer.example; on Fri", ["ada@customer.example"]),
        ("ada@customer.example...User unknown", ["ada@customer.example"]),
        ("write to ada@customer.example.", ["ada@customer.example"]),
        ("ada@customer.example您好\uff0c", ["ada@customer.example"]),
        ("收件人ada@customer.example不存在", ["ada@customer.example"]),
        ("mailto:ada@customer.example", ["ada@customer.example"]),
        ("bounce+ada=customer.example@sender.example", ["bounce+ada=customer.example@sender.example"]),
        ('"a b"@customer.example', ['"a b"@customer.example']),
        ("ada@[192.0.2.1]", ["ada@[192.0.2.1]"]),
        ("<root@localhost> and root@localhost", ["root@localhost"]),
        ("\N{CAT FACE}@customer.example", ["\N{CAT FACE}@customer.example"]),
        ("@customer.example ada@ ... @", []),
        ("a@b.example,c@d.example", ["a@b.example", "c@d.example"]),
    ],
)
def test_an_address_is_found_without_what_is_glued_to_it(text, expected):
    assert [found.address for found in find_addresses(text)] == expected


@given(st.text(max_size=300))
def test_what_is_found_stands_in_the_text(text):
    for found in find_addresses(text):
        assert text[found.start : found.end] == found.address
