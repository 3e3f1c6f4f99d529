"""What can go wrong in the MTA, as a tree under `MtascopeError`.

SpoolError
    ├── SpoolFull         no room for another message           temporary
    ├── SpoolLocked       another worker has this spool open    temporary
    └── SpoolDamaged      bytes in the middle of the journal cannot be read; what can be read was kept
InjectionRefused          a message handed in by HTTP is not taken
LimitTableError           the limits that workers share cannot be kept
ListenError               an address cannot be listened on      temporary
"""

from __future__ import annotations

from mta.events.errors import MtascopeError

__all__ = [
    "InjectionRefused",
    "LimitTableError",
    "ListenError",
    "SpoolDamaged",
    "SpoolError",
    "SpoolFull",
    "SpoolLocked",
]


class SpoolError(MtascopeError):
    """The spool refuses; what was accepted before is unharmed."""


class SpoolFull(SpoolError):
    """The disk has no room; the same call succeeds when there is some again."""

    temporary = True


class SpoolLocked(SpoolError):
    """Another worker has this spool open; two would deliver everything twice."""

    temporary = True


class SpoolDamaged(SpoolError):
    """A range of a journal segment cannot be read. Its bytes were copied aside; everything else was recovered."""


class InjectionRefused(MtascopeError):
    """A message that was handed in by HTTP is not taken; the text is what an SMTP client would hear."""


class LimitTableError(MtascopeError):
    """The file in which workers share their limits cannot be used: without it no limit would hold."""


class ListenError(MtascopeError):
    """A socket cannot be opened: the address is taken, not ours, or not allowed."""

    temporary = True
