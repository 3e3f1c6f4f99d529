"""Bounces and complaints that come back as mail."""
