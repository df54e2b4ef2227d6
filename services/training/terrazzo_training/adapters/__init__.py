"""Adapters of training's ports."""
