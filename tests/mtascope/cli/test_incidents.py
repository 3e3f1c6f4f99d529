"""`mtascope incidents`: a store without trouble, and what is said of trouble."""

from __future__ import annotations

import json

from click.testing import CliRunner

from exporter.alerting import words
from mtascope.cli import incidents

ROW = {
    "kind": "bounce_spike",
    "provider": "gmail",
    "scope": {"tenant": "acme"},
    "began": "2026-05-28T10:00:00.000000Z",
    "opened": "2026-05-28T10:05:00.000000Z",
    "closed": None,
    "level": 0.314,
    "baseline": 0.009,
    "numerator": 412,
    "denominator": 1312,
    "causes": [{"dimension": "campaign", "value": "spring", "share": 0.97, "mail_share": 0.12}],
    "replies": [{"text": "550 no", "bounce_class": "bad_mailbox", "share": 0.8, "excess": 400.0, "new": True}],
    "advice": ["Stop the list."],
}


def test_an_empty_store_has_no_incidents(tmp_path):
    result = CliRunner().invoke(incidents.command, ["--data", str(tmp_path), "--json"], standalone_mode=False)
    assert json.loads(result.stdout) == []


def test_a_person_reads_what_rose_since_when_who_carries_it_and_what_was_said():
    assert words.sentence(ROW) == (
        "gmail, tenant acme: 31.4% bounced instead of 0.9% (412 of 1312) since 2026-05-28 10:00Z, "
        "seen 2026-05-28 10:05Z, still open"
    )
    assert words.details(ROW) == [
        "campaign spring: 97% of the excess on 12% of the mail",
        "80% bad_mailbox, new: 550 no",
        "-> Stop the list.",
    ]


def test_nobody_is_told_while_a_silence_lasts_and_it_can_be_ended(tmp_path):
    def run(*words):
        return CliRunner().invoke(incidents.command, [*words, "--data", str(tmp_path)], standalone_mode=False)

    made = json.loads(run("silence", "--for", "2h", "--provider", "gmail", "--reason", "known", "--json").stdout)
    assert "provider=gmail" in run("silences").stdout
    assert run("unsilence", made["id"]).return_value == 0
    assert run("silences").stdout == ""
    assert run("unsilence", made["id"]).return_value == 3


def test_an_incident_that_is_not_there_cannot_be_acknowledged(tmp_path):
    words = ["acknowledge", "nobody", "--data", str(tmp_path)]
    assert CliRunner().invoke(incidents.command, words, standalone_mode=False).return_value == 3
