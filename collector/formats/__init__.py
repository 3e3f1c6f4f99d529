"""One file per MTA dialect; pure functions from bytes to events."""
