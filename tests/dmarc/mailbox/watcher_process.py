"""A process that empties an IMAP mailbox into a store, made to be killed: run by the tests, with a plan as JSON.

Before each move it looks whether every mail that is to move is committed; where one is not it writes that down. By
the plan it kills itself now and then, just before or just after a move, where a mail could be lost or counted twice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from analytics.dmarc_store import DmarcStore
from analytics.store import Store
from dmarc.ingest import ReportIngest
from dmarc.mailbox.imap import ImapMailbox
from dmarc.mailbox.mailbox import Letter
from dmarc.mailbox.watch import Pauses, Watch
from dmarc.rows import uuid_of
from dmarc.settings import ImapSettings
from mtascope.keys import load_keyring
from mtascope.opened_store import open_store
from mtascope.settings import load_settings

_MAIL_LIMIT = 32 * 1024 * 1024


class Watched(ImapMailbox):
    """An IMAP mailbox that may not live long."""

    store: Store
    folder: Path
    left: int
    """Moves' edges until the end; 0 for a long life."""

    def put_away(self, letters: Sequence[Letter], *, refused: bool = False) -> None:
        known = {row[0] for row in self.store.query("SELECT input_hash FROM dmarc.input")}
        early = [letter.key for letter in letters if uuid_of(sha256(letter.data).digest()) not in known]
        if early:
            (self.folder / "moved-too-early").write_text(repr(early))
        self._perhaps_die()
        super().put_away(letters, refused=refused)
        self._perhaps_die()

    def _perhaps_die(self) -> None:
        Watched.left -= 1
        if Watched.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    plan = json.loads(sys.argv[1])
    settings = load_settings(None, plan["data"])
    with open_store(settings) as store:
        Watched.store = store
        Watched.folder = Path(plan["data"])
        Watched.left = plan["die_at"]
        imap = ImapSettings(**plan["imap"])
        ingest = ReportIngest(DmarcStore(store), load_keyring(settings.folder.keys), store.clock)
        watch = Watch(
            "rua",
            lambda: Watched(imap, None, _MAIL_LIMIT),
            ingest,
            rescan=0.5,
            clock=store.clock,
            pauses=Pauses(0.05, 0.5),
        )
        signal.signal(signal.SIGTERM, lambda *_: watch.stop())
        watch.run()


if __name__ == "__main__":
    main()
