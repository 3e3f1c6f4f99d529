"""The two lines that most of a main log consists of, each read by one pattern.

Exim writes the fields of a line in a fixed order, whichever of them `log_selector` asks for, so an arrival or a
delivery of the usual kind (one plain address, one host, nothing escaped) is one match. All others, and any field that
is not listed here, take the way through `fields`, which looks for each field anywhere; it gives the same and takes
three times as long. Which of the two ways read a line can't be seen in the event.
"""

from __future__ import annotations

import re

__all__ = ["ARRIVAL", "DELIVERY"]

_PLAIN = r'[^\s:<>"|/@(]{1,255}@[^\s:<>"(]{1,255}'
_WORD = r'[^\s"<>]'
_INTERFACE = r"(?: I=\[[^\s\]]{1,64}\](?::\d{1,5})?)?"
_PEER = r"([^\s\[(*]{1,255})(?: DS)?(?: \([^()\s]{0,255}\))? \[([^\]\s]{1,64})\](?::\d{1,5})?"
_TLS = rf'(?: X=({_WORD}{{1,200}}))?(?: CV=[a-z]{{1,9}})?(?: DN="[^"\\]*")?(?: SNI={_WORD}{{1,255}})?'

DELIVERY = re.compile(
    rf"({_PLAIN})(?: F=<({_WORD}{{0,640}})>)?(?: R={_WORD}{{1,255}})?(?: T={_WORD}{{1,255}})?(?: S=(\d{{1,18}}))?"
    rf' H={_PEER}\*?{_INTERFACE}{_TLS}(?: K)?(?: C="([^"\\]*)")?(?: QT=({_WORD}{{1,40}}))?(?: DT={_WORD}{{1,40}})?'
)
"""What follows `=> `: address, sender, size, host, its address, TLS, confirmation, time in the queue."""

ARRIVAL = re.compile(
    rf"(<>|{_PLAIN}) H={_PEER}{_INTERFACE}(?: U={_WORD}{{1,64}})?(?: P={_WORD}{{1,40}})?{_TLS}(?: A={_WORD}{{1,255}})?"
    rf"(?: K)?(?: S=(\d{{1,18}}))(?: RT={_WORD}{{1,40}})?(?: id=({_WORD}{{1,998}}))?"
)
"""What follows `<= `: sender, host, its address, TLS, size, Message-ID; nothing else may follow."""
