"""Mail going out: routing, connections, the result of each attempt."""
