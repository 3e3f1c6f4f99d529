"""The bounce classes."""

from pathlib import Path

import pytest

from mta.events.errors import SettingsError
from mta.events.taxonomy import Taxonomy
from mtascope.resources import taxonomy

HEADER = (
    "name,meaning,severity,group,suppress,retry,fault,sisimai,kumomta,powermta,sparkpost,postmark,ses,sendgrid,zonemta,"
    "postalsys,enhanced\n"
)


def row(name: str, severity: str = "soft", suppress: str = "never", retry: str = "backoff") -> str:
    return f"{name},meaning,{severity},technical,{suppress},{retry},infra,,,,,,,,,,X.4.1\n"


def test_the_shipped_table_has_the_39_classes_and_unknown_last():
    assert len(taxonomy()) == len(taxonomy().names) == 39
    assert taxonomy().names[-1] == "unknown"


def test_only_causes_that_lie_with_the_recipient_suppress_at_once():
    at_once = {name for name, bounce_class in taxonomy().items() if bounce_class.suppress == "now"}
    assert at_once == {
        "bad_mailbox",
        "inactive_mailbox",
        "mailbox_moved",
        "bad_domain",
        "suppressed",
        "unsubscribe_request",
        "complaint",
    }


def test_every_class_says_what_it_means_and_whose_fault_it_is():
    assert all(bounce_class.meaning and bounce_class.fault for bounce_class in taxonomy().values())


def test_a_class_is_found_by_name():
    assert taxonomy()["mailbox_full"].severity == "soft"
    with pytest.raises(KeyError):
        taxonomy()["mailbox_empty"]


@pytest.mark.parametrize("wrong", [{"severity": "rock"}, {"suppress": "maybe"}, {"retry": "soon"}])
def test_a_word_outside_the_vocabulary_is_refused_with_its_line(wrong):
    with pytest.raises(SettingsError, match="line 3"):
        Taxonomy.from_csv((HEADER + row("unknown") + row("other", **wrong)).encode())


def test_a_table_without_unknown_is_refused():
    with pytest.raises(SettingsError, match="unknown"):
        Taxonomy.from_csv((HEADER + row("bad_mailbox")).encode())


def test_every_class_is_documented_with_its_severity():
    page = (Path(__file__).parents[3] / "docs" / "bounce-classes.md").read_text(encoding="utf8")
    missing = [
        name
        for name, bounce_class in taxonomy().items()
        if f"| `{name}` | {bounce_class.meaning} | {bounce_class.severity} |" not in page
    ]
    assert missing == []
