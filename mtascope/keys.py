"""The installation's keyring on disk: made once, readable by its owner only, never logged."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import orjson

from mta.events.errors import SettingsError
from mta.events.pseudonym import KEY_BYTES, Keyring

__all__ = ["load_keyring"]


def load_keyring(path: Path) -> Keyring:
    """Read the keyring at `path`; make one with fresh random keys where there is none.

    SettingsError names the file when it is damaged: a new key in its place would break every join, so none is made.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _make(path)
    try:
        content = orjson.loads(data)
        return Keyring(
            bytes.fromhex(content["identity"]),
            {int(epoch): bytes.fromhex(key) for epoch, key in content["recipient_keys"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError("is no keyring", where=str(path), remedy="restore it from a backup") from error


def _make(path: Path) -> Keyring:
    keyring = Keyring(secrets.token_bytes(KEY_BYTES), {1: secrets.token_bytes(KEY_BYTES)})
    content = {
        "identity": keyring.identity.hex(),
        "recipient_keys": {str(epoch): key.hex() for epoch, key in keyring.recipient_keys.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(content))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # fails if another process was quicker: then its key is the installation's
    except FileExistsError:
        return load_keyring(path)
    finally:
        temporary.unlink()
    return keyring
