"""Training-free propagation of labels through a video by the similarity of features."""

from vdit.propagation.propagator import LabelPropagator, propagate_labels, stream_labels
from vdit.propagation.settings import PropagationSettings

__all__ = ["LabelPropagator", "PropagationSettings", "propagate_labels", "stream_labels"]
