"""Speeds and sizes against named peers; see README.md. `make bench` runs them all."""
