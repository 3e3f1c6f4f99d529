"""A Dovecot of our own: unprivileged, on loopback, with any user and any password, on Maildirs that a test fills."""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dmarc.settings import ImapSettings

_CONFIGURATION = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {login_user}
first_valid_uid = 1
mail_location = maildir:{root}/mail/%u
mail_max_userip_connections = 100
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot:
    """Starts and ends as often as a test likes, on one port."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        (root / "run").mkdir(parents=True)
        root.chmod(0o755)
        # Dovecot refuses to handle logins or mail as root; its package has users for that.
        owner = pwd.getpwnam("dovecot" if os.getuid() == 0 else getpass.getuser())
        self._owner = (owner.pw_uid, owner.pw_gid)
        text = _CONFIGURATION.format(
            root=root,
            user=getpass.getuser(),
            login_user="dovenull" if os.getuid() == 0 else getpass.getuser(),
            group=grp.getgrgid(os.getgid()).gr_name,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            port=self.port,
        )
        (root / "dovecot.conf").write_text(text)
        (root / "password").write_text("secret\n")
        box = root / "mail" / "rua"
        for part in ("tmp", "new", "cur"):
            (box / part).mkdir(parents=True)
        for made in (box.parent, box, *box.iterdir()):
            os.chown(made, *self._owner)

    def start(self) -> None:
        """Serve; returns when it answers."""
        (self.root / "run" / "master.pid").unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [shutil.which("dovecot"), "-F", "-c", self.root / "dovecot.conf"],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    if probe.recv(4).startswith(b"* OK"):
                        return
            except OSError:
                time.sleep(0.02)
        raise AssertionError((self.root / "log").read_text())

    def stop(self) -> None:
        """End it with all its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # sessions that did not end with the master
            self._process = None

    def restart(self) -> None:
        """Both."""
        self.stop()
        self.start()

    def deliver(self, name: str, mail: bytes) -> None:
        """A mail into the INBOX, as a delivery agent does it."""
        folder = self.root / "mail" / "rua"
        (folder / "tmp" / name).write_bytes(mail)
        os.chown(folder / "tmp" / name, *self._owner)
        (folder / "tmp" / name).rename(folder / "new" / name)

    def mails(self, folder: str = "") -> list[Path]:
        """What lies in a folder, by name."""
        root = self.root / "mail" / "rua" / (f".{folder}" if folder else "")
        found = [path for part in ("new", "cur") if (root / part).is_dir() for path in (root / part).iterdir()]
        return sorted(found, key=lambda path: path.name)

    def settings(self, **more: object) -> ImapSettings:
        """How to read the mailbox."""
        return ImapSettings(
            name="rua", host="127.0.0.1", port=self.port, tls="none", username="rua",
            password_file=self.root / "password", timeout_s=10, **more,
        )  # fmt: skip


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    if shutil.which("dovecot") is None:
        pytest.skip("dovecot is not installed (Debian: dovecot-imapd)")
    # A short path, because it holds sockets, and one that Dovecot's unprivileged processes may pass.
    with tempfile.TemporaryDirectory(prefix="dv") as root:
        server = Dovecot(Path(root))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
def mails_of(report: Callable[..., bytes], record: Callable[..., str], gz, mail_of) -> Callable[[int], list[bytes]]:
    """So many mails, each with one report of its own of one record; the number is the record's count."""

    def make(count: int) -> list[bytes]:
        return [
            mail_of(
                ("application/gzip", "r.xml.gz", gz(report([record(count=number)], report_id=f"r{number}"))),
                headers=f"X-Number: {number}\r\n",
            )
            for number in range(1, count + 1)
        ]

    return make
