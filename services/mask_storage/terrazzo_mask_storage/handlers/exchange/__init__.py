"""Whole datasets and folders of labels, in and out."""
