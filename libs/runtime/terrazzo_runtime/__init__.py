"""What every service stands on: ports, unit of work, outbox and inbox, HTTP, auth, settings."""
