"""Bounded readers for MIME, delivery reports (RFC 3464) and feedback reports (RFC 5965)."""
