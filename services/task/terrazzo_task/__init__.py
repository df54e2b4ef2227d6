"""The task service: who may do what, and which piece of human work is next."""
