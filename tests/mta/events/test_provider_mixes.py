"""Most mail is mapped to a provider: consumers by domain or MX, companies by the MX that their mail went to.

The mixes are our own, written from what is publicly known about market shares and MX hosts. They were written before
the map was looked at, and hold small hosts that no map will ever know.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mtascope.resources import provider_map

MIXES = Path(__file__).parents[2] / "data" / "providers"


def mapped_share(mix: str, *, with_mx: bool = True) -> float:
    """The share of the mix's volume of which the map names the provider, given the MX hosts in the log or not."""
    mapped = total = 0
    with (MIXES / f"{mix}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found = provider_map().lookup(row["domain"], row["mx_host"] if with_mx else None)
            total += int(row["weight"])
            mapped += int(row["weight"]) * (found.evidence in {"domain", "mx"})
    return mapped / total


@pytest.mark.parametrize(("mix", "target"), [("consumer", 0.97), ("business", 0.90)])
def test_the_volume_of_a_realistic_mix_is_mapped(mix: str, target: float) -> None:
    assert mapped_share(mix) >= target


def test_consumer_mail_is_mapped_without_any_connection() -> None:
    assert mapped_share("consumer", with_mx=False) >= 0.96
