"""Adapters of the ports. Only the composition root chooses among them."""
