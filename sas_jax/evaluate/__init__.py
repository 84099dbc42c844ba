"""Protocols that turn point features into labels, scores and heat maps."""
