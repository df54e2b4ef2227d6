"""Branches, merges, picks, and the gates that a proposed version passes."""
