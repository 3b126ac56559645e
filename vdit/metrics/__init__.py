"""Metrics, one family a file; numpy and scipy only."""
