"""Keyed pseudonyms (promise 9) and the identities built from them (promise 3).

Two keys with two duties, so that one can be rotated without breaking joins:

- the **identity key** belongs to the installation and never changes. It turns (node, queue id) into a `message key` and
  (node, queue id, recipient) into a `unit id`. Both are useless for following a person from one message to the next.
- the **recipient key** turns an address into a `recipient hash`, which does follow a person, and therefore has epochs:
  after a rotation new mail gets new hashes, and destroying an old key makes old hashes meaningless.

`event_id` is computed from the unit id and the record's decoded fields, all of which are stored: anybody with the row
can compute it again, without a key.

The construction is SHA-256 over a fixed-length key, a domain-separating byte and length-delimited parts, cut to its
first 8 or 16 bytes: the cut keeps extension attacks out, and SQL can compute the same with DuckDB's `sha256`.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from mta.events.address import canonical_address
from mta.events.errors import SettingsError
from mta.events.event import Event, EventType

__all__ = ["KEY_BYTES", "PURPOSES", "Keyring", "event_id"]

KEY_BYTES = 32

PURPOSES = {"message": b"\x01", "unit": b"\x02", "recipient": b"\x03"}
"""The byte between key and parts that keeps pseudonyms of different purposes apart."""

_MESSAGE, _UNIT, _RECIPIENT = PURPOSES.values()


@dataclass(frozen=True, slots=True)
class Keyring:
    """The installation's keys: the identity key, and recipient keys by epoch. The highest epoch is in use."""

    identity: bytes
    recipient_keys: dict[int, bytes]

    def __post_init__(self) -> None:
        if len(self.identity) != KEY_BYTES or any(len(key) != KEY_BYTES for key in self.recipient_keys.values()):
            raise SettingsError(f"a key must have {KEY_BYTES} bytes", remedy="run `mtascope doctor`")
        if not self.recipient_keys:
            raise SettingsError("a keyring needs at least one recipient key")

    @property
    def epoch(self) -> int:
        """The epoch whose recipient key is in use."""
        return max(self.recipient_keys)

    def message_key(self, node: str, queue_id: str) -> int:
        """64-bit identity of a message on a node."""
        return _digest64(self.identity, _MESSAGE, node, queue_id)

    def unit_id(self, node: str, queue_id: str, recipient: str) -> int:
        """64-bit identity of one recipient of one message on a node: the unit of all rates (promise 4)."""
        return _digest64(self.identity, _UNIT, node, queue_id, canonical_address(recipient))

    def recipient_hash(self, recipient: str, epoch: int | None = None) -> int:
        """64-bit pseudonym of a person's address under the key of `epoch` (the one in use if None)."""
        key = self.recipient_keys[self.epoch if epoch is None else epoch]
        return _digest64(key, _RECIPIENT, canonical_address(recipient))


def event_id(unit_id: int, event: Event) -> bytes:
    """16 bytes that are equal for equal facts, whichever road they came by.

    Built from the unit (node, queue id, recipient), type, raw time stamp, attempt, reply code and ordinal. A transfer
    counts as the delivery that it is to the log, so that telling us later which networks are yours repeats nothing.
    """
    code = event.reply.code if event.reply is not None else None
    kind = EventType.DELIVERY if event.type is EventType.TRANSFER_OUT else event.type
    text = f"{unit_id}|{kind}|{event.time}|{event.attempt or 0}|{code or 0}|{event.ordinal}"
    return sha256(text.encode("ascii")).digest()[:16]


def _digest64(key: bytes, purpose: bytes, *parts: str) -> int:
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return int.from_bytes(sha256(key + purpose + text.encode("utf8", "surrogatepass")).digest()[:8], "big")
