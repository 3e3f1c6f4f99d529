"""`mtascope classify` (CLI.md)."""

import json

import pytest
from click.testing import CliRunner

from mtascope.cli.classify import MAX_LINE, command

KEYS = {"class", "group", "rule", "confidence", "provider", "retry_after_s", "blocklist"}


def run(text: str | bytes):
    result = CliRunner().invoke(command, ["-"], input=text, standalone_mode=False)
    return result, [json.loads(line) for line in result.stdout.splitlines()]


def test_each_line_gives_one_object_with_the_promised_keys():
    result, (first, second) = run("550 5.1.1 User unknown\n450 4.7.1 Greylisted, try again in 60 seconds\n")
    assert result.return_value == 0
    assert first.keys() >= KEYS
    assert (first["class"], second["class"], second["retry_after_s"]) == ("bad_mailbox", "greylisted", 60)


def test_an_object_gives_codes_peer_and_phase_apart():
    line = {"text": "go away", "code": 554, "enhanced": "5.1.1", "peer": "mx1.mail.icloud.com", "phase": "connect"}
    _, (found,) = run(json.dumps(line))
    assert (found["class"], found["provider"]) == ("bad_mailbox", "apple-icloud")


@pytest.mark.parametrize(
    "line", ["{", '{"text": 5}', '{"text": "a", "phase": "lunch"}', "[1]\x00{", '{"text":"a","code":"x"}']
)
def test_a_line_that_cannot_be_read_is_reported_and_its_neighbours_are_kept(line):
    result, answers = run(f"{line}\n550 5.1.1 User unknown\n")
    assert answers[-1]["class"] == "bad_mailbox"
    assert len(answers) == 2
    assert result.return_value in {0, 1}


def test_an_endless_line_is_refused_and_the_next_one_read():
    result, (first, second) = run(b"x" * (MAX_LINE * 3) + b"\n550 5.1.1 User unknown\n")
    assert result.return_value == 1
    assert first["class"] is None
    assert second["class"] == "bad_mailbox"


def test_a_file_is_read_by_name(tmp_path):
    path = tmp_path / "replies"
    path.write_text("552 5.2.2 Mailbox full\n")
    result = CliRunner().invoke(command, [str(path)], standalone_mode=False)
    assert json.loads(result.stdout)["class"] == "mailbox_full"


def test_rule_files_of_an_operator_are_heard_whosever_form_they_have(tmp_path):
    ours, kumomtas = tmp_path / "ours.toml", tmp_path / "kumomta.toml"
    ours.write_text(
        '[[rule]]\nid = "site.moon"\nclass = "mailbox_moved"\nphrases = ["on the moon"]\nconfidence = 0.99\n'
    )
    kumomtas.write_text('[rules]\nQuotaIssues = ["(?i)sack is (full|bursting)"]\n')
    words = ["--rules", str(ours), "--rules", str(kumomtas), "-"]
    result = CliRunner().invoke(command, words, input="550 lives on the moon\n550 the sack is full\n")
    assert [json.loads(line)["class"] for line in result.stdout.splitlines()] == ["mailbox_moved", "mailbox_full"]
    wrong = CliRunner().invoke(
        command, ["--rules", str(tmp_path / "absent.toml"), "-"], input="", standalone_mode=False
    )
    assert "absent.toml" in str(wrong.exception)
