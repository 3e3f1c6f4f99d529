"""The collector's branch of the exception tree (`mta/events/errors.py`).

MtascopeError
├── SettingsError
│   └── UnknownFormat     a --format that does not exist
├── SourceError           a file or socket cannot be read
│   └── SourceMissing     ... because it is not there
├── LandingFailed         what arrived cannot be made durable now
│   ├── LandingFull       ... because there is no room on disk for it
│   └── LandingBusy       ... because too much waits for the disk already
└── ProtocolError         a peer does not speak the protocol of the road it came by
"""

from __future__ import annotations

import errno
from pathlib import Path

from mta.events.errors import MtascopeError, SettingsError

__all__ = [
    "LandingBusy",
    "LandingFailed",
    "LandingFull",
    "ProtocolError",
    "SourceError",
    "SourceMissing",
    "UnknownFormat",
]


class UnknownFormat(SettingsError):
    """The name of a log dialect that nobody here speaks."""


class SourceError(MtascopeError):
    """A source cannot be read now; its neighbours go on. Mending it needs no restart."""

    temporary = True

    @classmethod
    def of(cls, path: str, error: OSError) -> SourceError:
        """What the operating system said about `path`, with the remedy that usually fits."""
        if isinstance(error, FileNotFoundError):
            return SourceMissing("no such file or folder", where=path, remedy="check the path")
        if isinstance(error, PermissionError):
            return cls("permission denied", where=path, remedy="let the collector's user read it")
        return cls(error.strerror or str(error), where=path)


class SourceMissing(SourceError):
    """A file or folder that was named is not there."""


class LandingFailed(MtascopeError):
    """What arrived could not be made durable; its sender must not hear "accepted"."""

    temporary = True
    reason = "disk"
    """A short stable word for counters."""

    @classmethod
    def of(cls, folder: Path, error: OSError) -> LandingFailed:
        """What the operating system said while writing in `folder`."""
        kind = LandingFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else cls
        return kind(error.strerror or str(error), where=str(folder), remedy="see that its disk works and has room")


class LandingFull(LandingFailed):
    """No room on disk until the store has taken what waits there."""

    reason = "full"


class LandingBusy(LandingFailed):
    """Too much waits for the disk already."""

    reason = "busy"


class ProtocolError(MtascopeError):
    """A peer broke the rules or a limit of its protocol; the connection cannot go on. `reason` is for counters."""

    def __init__(self, what: str, *, reason: str = "protocol", where: str | None = None) -> None:
        super().__init__(what, where=where)
        self.reason = reason
