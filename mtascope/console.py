"""How the console of this machine gets its token: made anew at each start, in a file that only this user can read.

Whoever starts the suite is shown the page's address with the token behind `#`, which browsers never send anywhere; the
page takes it from there. The token reads figures and lasts as long as the process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from exporter.access import new_secret
from mtascope.settings import DataFolder, Settings

__all__ = ["hand_out", "page_with_token"]


def hand_out(folder: DataFolder) -> str:
    """A new token for the console, left for this user in the run folder."""
    secret = new_secret()
    folder.console_token.unlink(missing_ok=True)
    with os.fdopen(os.open(folder.console_token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
    return secret


def page_with_token(settings: Settings, urls: Mapping[str, str]) -> dict[str, str]:
    """The addresses as they are shown to whoever started the suite: the console's opens without further ado."""
    shown = dict(urls)
    if "page" in shown and not settings.http.open_to_loopback:
        with suppress(OSError):
            shown["page"] += f"#token={settings.folder.console_token.read_text('ascii')}"
    return shown
