"""Haraka's log in its default, logfmt and JSON form, plain with `timestamps=true` or by way of syslog.

Haraka says who the recipients are when they are accepted, and when a mail is delivered only how many took it. So a
parser must remember the recipients of recent transactions: `transactions` holds them, within bounds. After a restart of
the reader, or in a log that begins in mid-life, a delivery names its domain only (`@mailbox.example`).

`envelope` reads the three forms, `parser` sorts lines and finds the events in them.
"""

from collector.formats.haraka.parser import opened, recognises

__all__ = ["opened", "recognises"]
