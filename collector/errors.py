"""The collector's branch of the exception tree (`mta/events/errors.py`).

MtascopeError
├── SettingsError
│   └── UnknownFormat     a --format that does not exist
└── SourceError           a file or socket cannot be read
    └── SourceMissing     ... because it is not there
"""

from __future__ import annotations

from mta.events.errors import MtascopeError, SettingsError

__all__ = ["SourceError", "SourceMissing", "UnknownFormat"]


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
