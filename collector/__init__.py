"""Reads what fleets of mail servers write: receive, land, parse, hand over to the store."""
