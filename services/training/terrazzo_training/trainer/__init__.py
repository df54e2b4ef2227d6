"""The trainer: a plain PyTorch process that turns a dataset version into a model version.

It runs by itself (``python -m terrazzo_training.trainer --config RUN.json --out DIR``) or under
torchrun, and imports nothing of the service that launches it.
"""
