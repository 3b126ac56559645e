"""What is said of a scene: facts, and sentences that name objects by them."""
