"""Commands and questions of the mask storage service; each command is one commit."""
