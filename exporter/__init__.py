"""Shows what analytics knows: metrics, HTTP API and console."""
