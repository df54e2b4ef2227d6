"""Commands and events of the task service: each is one unit of work, and one commit."""
