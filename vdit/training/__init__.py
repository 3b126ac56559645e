"""Training: matching, losses and the loop."""
