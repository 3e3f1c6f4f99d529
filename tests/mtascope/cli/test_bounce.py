"""`mtascope bounce` (CLI.md)."""

import json
import shutil
from pathlib import Path

from click.testing import CliRunner

from mtascope.cli.bounce import command

MAILS = Path(__file__).parents[2] / "data" / "mail"
KEYS = {
    "file",
    "kind",
    "recipient",
    "action",
    "status",
    "code",
    "diagnostic",
    "class",
    "group",
    "remote_mta",
    "reporting_mta",
    "original_message_id",
    "feedback_type",
    "source_ip",
    "arrival",
}


def run(*paths: Path):
    result = CliRunner().invoke(command, [str(path) for path in paths], standalone_mode=False)
    return result, [json.loads(line) for line in result.stdout.splitlines()]


def test_each_recipient_is_one_line_with_the_promised_keys():
    path = MAILS / "reports/postfix.eml"
    result, lines = run(path)
    assert [line["recipient"] for line in lines] == ["ada@customer.example", "ben@accounts.example"]
    assert all(line.keys() >= KEYS and line["file"] == str(path) for line in lines)
    assert (lines[0]["group"], lines[0]["arrival"]) == ("quota", "2026-03-03T09:00:00.000000Z")
    assert result.return_value == 0


def test_an_ordinary_mail_is_one_line_of_kind_none():
    _, (line,) = run(MAILS / "ordinary/thank-you.eml")
    assert line.keys() >= KEYS
    assert (line["kind"], line["recipient"], line["class"]) == ("none", None, None)


def test_a_maildir_is_read_without_what_is_still_being_written(tmp_path):
    for folder in ("cur", "new", "tmp"):
        (tmp_path / folder).mkdir()
        shutil.copy(MAILS / "reports/yahoo.eml", tmp_path / folder / f"1.{folder}:2,S")
    _, lines = run(tmp_path)
    assert [Path(line["file"]).parent.name for line in lines] == ["cur", "new"]


def test_an_mbox_is_read_mail_by_mail(tmp_path):
    mbox = tmp_path / "returned.mbox"
    names = ("yahoo", "gmail", "vacation")
    mbox.write_bytes(
        b"".join(
            b"From MAILER-DAEMON Tue Mar  3 09:00:00 2026\n" + (MAILS / f"reports/{name}.eml").read_bytes() + b"\n"
            for name in names
        )
    )
    _, lines = run(mbox)
    assert [line["kind"] for line in lines] == ["bounce", "bounce", "auto_reply"]


def test_a_mail_that_is_refused_is_named_and_its_neighbours_are_read(tmp_path):
    bomb = tmp_path / "bomb.eml"
    bomb.write_bytes(b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\nx\n" * 10_000)
    result, lines = run(bomb, MAILS / "reports/qmail.eml", tmp_path / "missing.eml")
    assert [line["kind"] for line in lines] == ["none", "bounce", "bounce", "none"]
    assert "more than 200 parts" in lines[0]["error"]
    assert "cannot be read" in lines[3]["error"]
    assert result.return_value == 1


def test_a_huge_mail_is_refused_before_it_costs_memory(tmp_path):
    huge = tmp_path / "huge.eml"
    with huge.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    result, (line,) = run(huge)
    assert (line["kind"], "more than" in line["error"], result.return_value) == ("none", True, 1)
