"""Reading for as long as the process runs: the loop that following files and draining what landed have in common."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from mta.events.errors import MtascopeError

__all__ = ["ReadingLoop"]

_log = logging.getLogger(__name__)


class ReadingLoop(ABC):
    """`run` works in the calling thread until `stop` is called, from any thread or a signal handler."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def run(self) -> None:
        """Read until stopped; what was gathered by then is handed over.

        Raises what the store raises if it refuses for good. Whatever was not committed is read again next time.
        """
        try:
            while not self._stopping.is_set():
                if not self.step():
                    self._stopping.wait(self._pause_s())
            self.flush()
        except MtascopeError as error:
            if not (error.temporary and self._stopping.is_set()):
                raise
            _log.warning("stopping while the store refuses: %s; the rest is read again next time", error)
        finally:
            self.close()

    def stop(self) -> None:
        """Ask `run` to end soon."""
        self._stopping.set()

    @abstractmethod
    def step(self) -> bool:
        """Read a share of what is there; True if there is more."""

    @abstractmethod
    def flush(self) -> None:
        """Hand over what was gathered, however young."""

    @abstractmethod
    def close(self) -> None:
        """Close everything, as `run` does at its end; what was not committed is read again next time."""

    @abstractmethod
    def _pause_s(self) -> float:
        """Seconds until there may be something to do again."""
