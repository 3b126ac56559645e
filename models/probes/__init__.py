"""Heads that are trained on the features of frozen networks, one file a kind."""
