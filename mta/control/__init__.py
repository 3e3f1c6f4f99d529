"""The MTA seen from outside: log records, live state, control socket."""
