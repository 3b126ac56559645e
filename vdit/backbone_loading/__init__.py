"""Weights of backbones from folders and the hub, one file a family."""
