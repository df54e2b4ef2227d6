"""Commands: each takes an open transaction and makes one commit's worth of change."""
