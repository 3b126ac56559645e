"""Stages of training: each builds its networks and data, and says what its loss is."""
