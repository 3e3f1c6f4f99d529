"""Replies as mail servers word them: collected from logs, forums and the pages of providers, addresses changed.

Each has a class, and classes that a reader could as well give it. They were judged before any rule was written for them
(docs/bounce-classes.md tells how many were right then); since then they hold what has been reached.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mta.events.reply import parse_reply
from mtascope.resources import reply_classifier, taxonomy

_FILE = Path(__file__).parents[2] / "data" / "replies" / "wordings.tsv"
WORDINGS = list(
    csv.DictReader(_FILE.read_text("utf8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
)


def judged() -> list[tuple[dict[str, str], str]]:
    classifier = reply_classifier()
    return [(row, classifier.classify(parse_reply(row["reply"])).bounce_class) for row in WORDINGS]


def test_the_labels_are_classes_of_the_taxonomy() -> None:
    labels = {label for row in WORDINGS for label in (row["class"], *row["also"].split("|")) if label}
    assert labels <= set(taxonomy())


@pytest.mark.parametrize(("share", "least"), [("acceptable", 0.98), ("exact", 0.85)])
def test_nearly_every_wording_is_understood(share: str, least: float) -> None:
    right = [
        found == row["class"] or (share == "acceptable" and found in row["also"].split("|")) for row, found in judged()
    ]
    assert sum(right) / len(right) >= least


def test_no_wording_is_unknown_unless_it_says_nothing() -> None:
    assert [row["reply"] for row, found in judged() if found == "unknown" and "unknown" not in row["also"]] == []
