"""The inference service: predictions, their uncertainty and embeddings, and the models that make them."""
