"""Packs are packed again, collected, checked and counted."""
