"""One file per MTA dialect; pure functions from bytes to events.

`outcome` says what reading a record gives, `registry` which dialects there are.
"""
