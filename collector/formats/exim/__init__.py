"""Exim's main log, reject log and panic log, with any `log_selector`.

A main-log line begins with a time stamp, a message id and two characters that say what happened: `<=` arrived, `=>`
delivered, `->` delivered in the same transaction, `>>` delivered while it was received, `*>` delivery suppressed, `==`
deferred, `**` failed. `parser` sorts lines, `fields` reads what follows the address, `delivery` reads outcomes, and
`refusal` the mail that was not accepted.
"""

from collector.formats.exim.parser import opened, recognises

__all__ = ["opened", "recognises"]
