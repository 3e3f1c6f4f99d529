"""Postfix's log: many processes write about one message, one line at a time, bound together by its queue id.

What each line says becomes an event of its own. A line of a delivery agent is about a recipient; the lines of `smtpd`,
`pickup`, `cleanup` and `qmgr` are about the whole message, and become receptions without a recipient: sender, size,
Message-ID and client reach the recipients in the store, by the queue id. So nothing is lost at a restart or a rotation.

`parser` sorts lines by the process that wrote them, `delivery` reads those of delivery agents, `answer` the text in
their parentheses, `refusal` the mail that was not accepted.
"""

from collector.formats.postfix.parser import opened, recognises

__all__ = ["opened", "recognises"]
