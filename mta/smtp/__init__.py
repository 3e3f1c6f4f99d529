"""Mail coming in: listeners and the SMTP dialogue."""
