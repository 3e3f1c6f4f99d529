"""The language that every part of mtascope speaks.

What a mail server did is an `Event`; what a peer answered is an `SmtpReply`; whom it was for is an address that
becomes a keyed pseudonym before it is stored; which mailbox provider decided is looked up in a `ProviderMap`.
Everything here is pure: values in, values out; no file, socket, clock or log.
"""
