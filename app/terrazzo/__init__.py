"""Terrazzo's command line and composition root: the only code that imports the services."""

__version__ = "0.1.0"
