"""Maildirs and folders as mailboxes: what lies there waits, what is stored is moved away."""

from __future__ import annotations

import os
import threading
import time

import pytest

from dmarc.errors import MailboxError
from dmarc.mailbox.dropped import DroppedFiles
from dmarc.settings import FolderSettings


@pytest.fixture
def maildir(tmp_path):
    for name in ("new", "cur", "tmp"):
        (tmp_path / "box" / name).mkdir(parents=True)
    return tmp_path / "box"


def opened(path, kind="maildir", after="move") -> DroppedFiles:
    return DroppedFiles(FolderSettings(name="x", type=kind, path=path, after=after), 1_000)


def names(mailbox) -> list[list[str]]:
    return [[letter.key.rpartition("/")[2] for letter in portion] for portion in mailbox.letters()]


def test_new_and_current_mails_wait_and_half_written_ones_do_not(maildir):
    (maildir / "new" / "2.a.host").write_bytes(b"two")
    (maildir / "cur" / "1.a.host:2,S").write_bytes(b"one")
    (maildir / "tmp" / "3.a.host").write_bytes(b"thr")
    assert names(opened(maildir)) == [["1.a.host:2,S", "2.a.host"]]


def test_what_is_put_away_lies_in_a_maildir_folder_that_others_can_read(maildir):
    (maildir / "new" / "1.a.host").write_bytes(b"one")
    mailbox = opened(maildir)
    mailbox.put_away(next(mailbox.letters()))
    assert names(mailbox) == []
    assert (maildir / ".Processed" / "cur" / "1.a.host:2,S").read_bytes() == b"one"
    assert (maildir / ".Processed" / "maildirfolder").exists()


def test_refused_mails_are_kept_even_where_others_are_deleted(maildir):
    for number in (1, 2):
        (maildir / "new" / f"{number}.a.host").write_bytes(b"x")
    mailbox = opened(maildir, after="delete")
    ((first, second),) = mailbox.letters()
    mailbox.put_away([first])
    mailbox.put_away([second], refused=True)
    assert [path.name for path in (maildir / ".Processed" / "cur").iterdir()] == ["2.a.host:2,S"]


def test_files_of_one_name_do_not_replace_each_other(tmp_path):
    mailbox = opened(tmp_path, "folder")
    for content in (b"one", b"two"):
        (tmp_path / "report.xml").write_bytes(content)
        os.utime(tmp_path / "report.xml", (0, 0))
        mailbox.put_away(next(mailbox.letters()))
    assert sorted(path.read_bytes() for path in (tmp_path / "processed").iterdir()) == [b"one", b"two"]


def test_a_file_that_is_still_being_written_waits(tmp_path):
    (tmp_path / "report.xml").write_bytes(b"half")
    now = time.time()
    assert names(DroppedFiles(FolderSettings(name="x", type="folder", path=tmp_path), 1_000, lambda: now)) == []
    assert names(DroppedFiles(FolderSettings(name="x", type="folder", path=tmp_path), 1_000, lambda: now + 9)) == [
        ["report.xml"]
    ]


def test_a_folder_that_is_not_there_is_a_named_temporary_error(tmp_path):
    with pytest.raises(MailboxError, match="no such Maildir") as caught:
        opened(tmp_path / "absent")
    assert caught.value.temporary


def test_the_wait_ends_when_told_to_stop(tmp_path):
    stopping = threading.Event()
    stopping.set()
    began = time.monotonic()
    opened(tmp_path, "folder").wait(30, stopping)
    assert time.monotonic() - began < 1
