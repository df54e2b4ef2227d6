"""The QA service's tables and the services that it asks."""
