"""The QA service's tables, and the service that it asks."""
