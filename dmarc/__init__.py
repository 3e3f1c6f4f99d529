"""Aggregate, failure and TLS reports: every report read, joined with our own sending."""
