"""Mail that waits: durable spool, schedule, retry."""
