"""Bounces after the formats of many systems and languages, written before any phrase was added for them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mta.events.mail.bounce import BounceKind, read_bounce
from mta.events.mail.bounce_class import classify_recipient
from mtascope.resources import bounce_phrases, reply_classifier

FOLDER = Path(__file__).parents[3] / "data" / "mail" / "variety"
LABELS = list(csv.DictReader((FOLDER / "labels.csv").read_text("utf8").splitlines()))


@pytest.mark.parametrize("label", LABELS, ids=lambda label: Path(label["file"]).stem)
def test_a_mail_is_read_for_what_it_is_about_whom_it_is_and_why(label: dict[str, str]) -> None:
    report = read_bounce((FOLDER / label["file"]).read_bytes(), bounce_phrases())
    assert str(report.kind) == label["kind"]
    if report.kind is not BounceKind.BOUNCE:
        return
    assert [each.address for each in report.recipients] == label["recipients"].split()
    classes = {classify_recipient(each, report, reply_classifier()).name for each in report.recipients}
    assert not label["classes"] or classes <= set(label["classes"].split("|"))
