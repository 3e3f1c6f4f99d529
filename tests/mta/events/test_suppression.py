"""The suppression list's file: what goes in comes out, fast, and what is damaged is refused."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.errors import ParseError
from mta.events.instants import SECOND
from mta.events.suppression import NEVER, SuppressionList, encode, tenant_key

KEYS = st.dictionaries(
    st.integers(0, 2**64 - 1) | st.integers(0, 200).map(lambda n: n << 48),
    st.tuples(st.integers(1, NEVER), st.integers(0, 1)),
    max_size=300,
)


def listing(entries: dict[int, tuple[int, int]]) -> SuppressionList:
    keys = sorted(entries)
    data = encode(
        array("Q", keys),
        array("I", [entries[key][0] for key in keys]),
        bytes(entries[key][1] for key in keys),
        names=("bounce", "complaint"),
        epochs=(1, 2),
        version=7,
    )
    return SuppressionList(data)


@given(KEYS, st.integers(0, 2**64 - 1), st.integers(0, 2**32))
def test_the_list_answers_as_a_dictionary_would(entries: dict[int, tuple[int, int]], other: int, seconds: int) -> None:
    found = listing(entries)
    assert (len(found), found.version, list(found.epochs)) == (len(entries), 7, [1, 2])
    for key in (*entries, other):
        end, reason = entries.get(key, (0, 0))
        answer = found.find([key], "", seconds * SECOND)
        wanted = ("bounce", "complaint")[reason] if end > seconds else None
        assert (answer.reason if answer is not None else None) == wanted


def test_an_entry_for_a_tenant_stops_that_tenants_mail_only() -> None:
    found = listing({42 ^ tenant_key("acme"): (NEVER, 1)})
    answer = found.find([42], "acme", 0)
    assert answer is not None
    assert (answer.reason, answer.tenant_only) == ("complaint", True)
    assert found.find([42], "", 0) is None
    assert found.find([42], "other", 0) is None


def test_an_entry_for_everybody_stops_every_tenants_mail() -> None:
    answer = listing({42: (NEVER, 0)}).find([41, 42], "acme", 0)
    assert answer is not None
    assert not answer.tenant_only


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_refused(damage: str) -> None:
    data = bytearray(encode(array("Q", [1]), array("I", [9]), b"\0", names=("x",), epochs=(1,), version=1))
    if damage == "cut":
        del data[-1]
    elif damage == "flipped":
        data[-3] ^= 1
    elif damage == "empty":
        data.clear()
    else:
        data[:10] = b"{}        "
    with pytest.raises(ParseError):
        SuppressionList(bytes(data))
