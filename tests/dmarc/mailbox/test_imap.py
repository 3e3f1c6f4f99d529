"""A real Dovecot: every report comes in once, whatever is restarted or killed, and none moves before it is stored."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmarc.errors import MailboxError
from dmarc.mailbox.imap import ImapMailbox
from mtascope.cli.dmarc import command
from mtascope.opened_store import open_store
from mtascope.settings import load_settings

pytestmark = [pytest.mark.peer, pytest.mark.e2e]

_LIMIT = 1_000_000


class Watcher:
    """The process that is killed; started again whenever it has died."""

    def __init__(self, data: Path, dovecot, deaths: list[int]) -> None:
        self.data = data
        self.deaths = 0
        self._imap = dovecot.settings().model_dump(mode="json")
        self._deaths = deaths  # of each life, before or after which move it ends; later lives are long
        self._process: subprocess.Popen[bytes] | None = None

    def keep_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self.deaths += self._process is not None
            die_at = self._deaths[self.deaths] if self.deaths < len(self._deaths) else 0
            plan = {"data": str(self.data), "die_at": die_at, "imap": self._imap}
            script = Path(__file__).with_name("watcher_process.py")
            self._process = subprocess.Popen([sys.executable, script, json.dumps(plan)])

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def run(dovecot, watcher: Watcher, *, restarts: int, every: float, seconds: float) -> int:
    """Restart the server so often while the mailbox empties, then wait until it is empty; the restarts made."""
    made, next_restart = 0, time.monotonic() + every
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        watcher.keep_alive()
        if made < restarts and time.monotonic() > next_restart:
            dovecot.restart()
            made, next_restart = made + 1, time.monotonic() + every
        if made == restarts and not dovecot.mails():
            break
        time.sleep(0.02)
    watcher.stop()
    return made


def stored(data: Path) -> tuple[int, int, int]:
    """Reports, messages and distinct mails in the store."""
    with open_store(load_settings(None, data)) as store:
        return store.query(
            "SELECT count(*), sum(messages), (SELECT count(*) FROM dmarc.input) FROM dmarc.report WHERE is_current"
        )[0]


def check_all_once(dovecot, watcher: Watcher, count: int) -> None:
    assert not (watcher.data / "moved-too-early").exists()
    assert stored(watcher.data) == (count, count * (count + 1) // 2, count)
    assert dovecot.mails() == []
    moved = [path.read_bytes() for path in dovecot.mails("Processed")]
    assert sorted(set(map(_number, moved))) == list(range(1, count + 1)), "no mail was lost"
    assert len(moved) == count, "no mail was copied twice"


def _number(mail: bytes) -> int:
    return int(mail.partition(b"X-Number: ")[2].partition(b"\r\n")[0])


def test_reports_survive_restarts_of_the_server_and_kills_of_ours(dovecot, mails_of, tmp_path):
    for number, mail in enumerate(mails_of(250)):
        dovecot.deliver(f"{number:06}.M1.host", mail)
    watcher = Watcher(tmp_path / "data", dovecot, [1, 2, 3])
    assert run(dovecot, watcher, restarts=2, every=0.7, seconds=60) == 2
    check_all_once(dovecot, watcher, 250)
    assert watcher.deaths == 3


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_5000_mails_20_restarts_and_kills_between_commit_and_move(dovecot, mails_of, tmp_path):
    mails = mails_of(5_000)
    arriving = threading.Thread(target=_deliver_slowly, args=(dovecot, mails))
    arriving.start()
    chance = random.Random(5)
    watcher = Watcher(tmp_path / "data", dovecot, [chance.randint(1, 8) for _ in range(12)])
    assert run(dovecot, watcher, restarts=20, every=2.0, seconds=400) == 20
    arriving.join()
    check_all_once(dovecot, watcher, 5_000)
    sys.stderr.write(f"killed {watcher.deaths} times, 20 restarts\n")
    assert watcher.deaths >= 10


def _deliver_slowly(dovecot, mails: list[bytes]) -> None:
    """Half of the mails lie there from the start, the others come during the restarts."""
    chance = random.Random(5)
    for number, mail in enumerate(mails):
        dovecot.deliver(f"{number:06}.M1.host", mail)
        if number > len(mails) // 2:
            time.sleep(chance.uniform(0, 0.03))


def test_mails_are_read_without_being_marked_as_seen(dovecot, mails_of):
    dovecot.deliver("1.M1.host", mails_of(1)[0])
    mailbox = ImapMailbox(dovecot.settings(), None, _LIMIT)
    ((letter,),) = mailbox.letters()
    mailbox.close()
    assert b"X-Number: 1" in letter.data
    (path,) = dovecot.mails()
    assert "S" not in path.name.partition(":2,")[2]


@pytest.mark.parametrize("after", ["flag", "delete"])
def test_what_was_put_away_does_not_come_again(dovecot, mails_of, after):
    for number, mail in enumerate(mails_of(3)):
        dovecot.deliver(f"{number}.M1.host", mail)
    settings = dovecot.settings(after=after)
    mailbox = ImapMailbox(settings, None, _LIMIT)
    ((first, *rest),) = mailbox.letters()
    mailbox.put_away([first])
    mailbox.close()
    again = ImapMailbox(settings, None, _LIMIT)
    assert [[letter.key for letter in portion] for portion in again.letters()] == [[letter.key for letter in rest]]
    again.close()
    assert len(dovecot.mails()) == (3 if after == "flag" else 2)


def test_refused_mails_have_a_folder_of_their_own(dovecot):
    dovecot.deliver("1.M1.host", b"Subject: spam\r\n\r\nbuy\r\n")
    mailbox = ImapMailbox(dovecot.settings(refused="Unreadable", after="delete"), None, _LIMIT)
    (portion,) = mailbox.letters()
    mailbox.put_away(portion, refused=True)
    mailbox.close()
    assert len(dovecot.mails("Unreadable")) == 1


def test_a_new_mail_ends_the_wait(dovecot, mails_of):
    mailbox = ImapMailbox(dovecot.settings(), None, _LIMIT)
    timer = threading.Timer(0.3, dovecot.deliver, ("1.M1.host", mails_of(1)[0]))
    timer.start()
    began = time.monotonic()
    mailbox.wait(20, threading.Event())
    assert time.monotonic() - began < 10
    assert len(next(mailbox.letters())) == 1
    mailbox.close()


def test_of_a_huge_mail_only_as_much_is_fetched_as_shows_that_it_is_huge(dovecot):
    dovecot.deliver("1.M1.host", b"Subject: x\r\n\r\n" + b"x" * 3_000_000)
    mailbox = ImapMailbox(dovecot.settings(), None, 1_000_000)
    ((letter,),) = mailbox.letters()
    mailbox.close()
    assert len(letter.data) == 1_000_001


def test_a_wrong_password_is_named_without_being_told(dovecot, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2")
    settings = dovecot.settings().model_copy(update={"password_file": wrong})
    with pytest.raises(MailboxError, match="refuses the login") as caught:
        ImapMailbox(settings, None, _LIMIT)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_goes_away_is_a_named_temporary_error(dovecot, mails_of):
    dovecot.deliver("1.M1.host", mails_of(1)[0])
    mailbox = ImapMailbox(dovecot.settings(), None, _LIMIT)
    dovecot.stop()
    with pytest.raises(MailboxError) as caught:
        list(mailbox.letters())
    mailbox.close()
    assert caught.value.temporary


def test_the_command_line_empties_a_mailbox_once(dovecot, mails_of, tmp_path):
    for number, mail in enumerate(mails_of(3)):
        dovecot.deliver(f"{number}.M1.host", mail)
    config = tmp_path / "settings.toml"
    config.write_text(f'data = "{tmp_path}/data"\n[dmarc]\ncheck_mails = false\n')
    words = ["ingest", "--imap", f"imap://rua@127.0.0.1:{dovecot.port}/INBOX", "--config", str(config), "--json"]
    for expected in (3, 0):
        done = CliRunner().invoke(command, [*words, "--password-file", str(dovecot.root / "password")])
        assert json.loads(done.stdout)["reports"] == expected
    assert len(dovecot.mails("Processed")) == 3
    assert CliRunner().invoke(command, [*words[:1], "--imap", "imap://host/x"]).exit_code == 2
