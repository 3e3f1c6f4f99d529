"""The demo: simulated mailbox providers, a seeded traffic generator, and the reckoning at the end."""
