"""Keeps events in DuckDB and answers what became of the mail: rates, latency, trace."""
