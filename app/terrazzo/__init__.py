"""Terrazzo: the command line and the composition root."""
