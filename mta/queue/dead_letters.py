"""Mail that can neither be delivered nor returned: it came with the null reverse-path, so nobody is told.

It is kept for the operator: `<id>.eml` is the message, `<id>.json` says what happened. The folder is bounded; the
oldest make room. Keeping a message twice (after a crash between here and the journal) changes nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import orjson

from mta.events.instants import format_instant
from mta.queue.message import Message

__all__ = ["DeadLetters"]


class DeadLetters:
    """The folder, and how many letters it holds by reason (`bounced`, `expired`). Methods block."""

    def __init__(self, folder: Path, *, max_messages: int, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._letters: dict[str, tuple[str, int]] = {}
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            with suppress(ValueError, KeyError, TypeError):  # somebody's own file: not ours to count or to delete
                said = orjson.loads(path.read_bytes())
                self._letters[path.stem] = (str(said["reason"]), int(said["size"]))

    @property
    def by_reason(self) -> Counter[str]:
        """Letters kept, by reason."""
        return Counter(reason for reason, _ in self._letters.values())

    def keep(self, message: Message, body: bytes, *, reason: str, answer: str, when: int) -> None:
        """Keep a message and the answer that ended it. Raises OSError when the disk refuses."""
        said = {
            "reason": reason,
            "answer": answer,
            "recipient": message.recipient,
            "queue": message.queue,
            "message_id": message.envelope.message_id,
            "received_at": format_instant(message.envelope.received_at),
            "given_up_at": format_instant(when),
            "attempts": message.attempts + 1,
            "size": len(body),
        }
        _replace(self._folder / f"{message.id}.eml", body)
        _replace(self._folder / f"{message.id}.json", orjson.dumps(said, option=orjson.OPT_INDENT_2))
        self._letters[message.id] = (reason, len(body))
        self._make_room()

    def _make_room(self) -> None:
        size = sum(size for _, size in self._letters.values())
        while len(self._letters) > 1 and (len(self._letters) > self._max_messages or size > self._max_bytes):
            oldest = next(iter(self._letters))
            size -= self._letters.pop(oldest)[1]
            for suffix in (".json", ".eml"):
                (self._folder / (oldest + suffix)).unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(path.suffix + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
