"""`mtascope incidents`: a store without trouble, and what is said of trouble."""

from __future__ import annotations

import json

from click.testing import CliRunner

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
}
REPLY = {"text": "550 no", "bounce_class": "bad_mailbox", "share": 0.8, "excess": 400.0, "new": True}


def test_an_empty_store_has_no_incidents(tmp_path):
    result = CliRunner().invoke(incidents.command, ["--data", str(tmp_path), "--json"], standalone_mode=False)
    assert json.loads(result.stdout) == []


def test_a_person_reads_what_rose_since_when_and_who_carries_it():
    assert incidents._sentence(ROW) == (
        "gmail, tenant acme: 31.4% bounced instead of 0.9% (412 of 1312) since 2026-05-28 10:00Z, "
        "seen 2026-05-28 10:05Z, still open"
    )
    assert incidents._cause(ROW["causes"][0]) == "97% of the excess on 12% of the mail"
    assert incidents._reply(REPLY) == "80% bad_mailbox, new: 550 no"
