"""What the stages share that train VD-IT: sentences, matched queries, the released losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vdit.models.vdit import VDIT, SelectQueries, VDITOutput
from vdit.structures import Target
from vdit.training.criterion import Criterion
from vdit.training.matcher import TemporalMatcher
from vdit.training.stage import Stage


class MatchedStage(Stage):
    """The loss of matched queries, summed over a step and divided by its number of seen boxes.

    So a step gives the same gradient however its clips are divided over processes and
    accumulation. A sentence that names nothing has only its class loss.

    Attributes:
        model: what is trained.
        criterion: the losses.
        matcher: which query stands for which object.
    """

    model: VDIT
    criterion: Criterion
    matcher: TemporalMatcher

    @abstractmethod
    def targets(self, batch: Any) -> Sequence[Target]:
        """List what each sentence of a batch names, in the frames that are decoded."""

    @abstractmethod
    def segment(self, batch: Any, select: SelectQueries) -> VDITOutput:
        """Run the model on all sentences of a batch."""

    def count(self, batch: Any) -> float:
        """Count the (object, frame) pairs in which the object is seen."""
        return float(sum(int(target.valid.sum()) for target in self.targets(batch)))

    def losses(self, batch: Any) -> dict[str, Tensor]:
        return self.shared_losses(batch, self.count(batch))

    def shared_losses(self, batch: Any, count: float) -> dict[str, Tensor]:
        """See `Stage.shared_losses`; terms of the earlier decoder layers are in "loss" only."""
        device = next(self.model.head.parameters()).device
        targets = [target.to(device) for target in self.targets(batch)]
        output = self.segment(
            batch, lambda layers: [self.matcher(layer, targets) for layer in layers]
        )
        with torch.autocast(device.type, enabled=False):
            terms = self.criterion(
                output.layers, output.matches, output.mask_logits, targets, count
            )
            total = self.criterion.total(terms)
        main = {name: value for name, value in terms.items() if not name[-1].isdigit()}
        return {"loss": total, **main}
