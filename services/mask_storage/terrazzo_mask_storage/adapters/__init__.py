"""What the mask storage service stands on: its tables and its store."""
