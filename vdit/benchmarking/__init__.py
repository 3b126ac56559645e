"""Time and memory, side by side with what others offer."""
