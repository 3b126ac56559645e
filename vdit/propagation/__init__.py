"""Training-free propagation of labels through a video by the similarity of features."""
