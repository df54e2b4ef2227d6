"""Tables, the model runtime, the mask storage service."""
