"""Frozen networks that turn a video into feature maps, behind one contract (`base.py`)."""
