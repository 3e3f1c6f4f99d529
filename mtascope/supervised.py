"""Children do not outlive the front door: they end when it does, however it ends.

A supervising process gives each child a pipe as standard input and never writes to it. When the supervisor is gone, by
SIGKILL too, the pipe ends, and the child asks itself to stop in the ordinary way.
"""

from __future__ import annotations

import os
import signal
import threading

__all__ = ["MARK", "end_with_the_supervisor"]

MARK = "MTASCOPE_SUPERVISED"
"""Set in the environment of a child whose standard input is such a pipe."""


def end_with_the_supervisor() -> None:
    """Call once at the start of a process; does nothing unless it is a supervised child."""
    if os.environ.pop(MARK, None) is not None:
        threading.Thread(target=_wait_for_the_end, name="supervisor", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
