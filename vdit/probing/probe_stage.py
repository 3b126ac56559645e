"""Training of the head of a learned probe, and of its backbone where that learns too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from vdit.atomic import replace_when_complete
from vdit.models.probes.fourier import append_places
from vdit.probing.backbone_training import BackboneTraining
from vdit.probing.clip_features import Example
from vdit.probing.live_features import LiveFeatures
from vdit.probing.probe_task import DrawingTask, ProbeTask, Record, Tensors
from vdit.training.stage import Stage

HEAD_FILE = "head.safetensors"
NUM_SAMPLES = 32
Batch = tuple[Tensor, Tensors]


class Inputs(Protocol):
    """What a clip gives: features [T', C, h, w], or frames [T, 3, H, W] to compute them from."""

    def read(self, example: Example) -> Tensor:
        """Give those of one clip."""


class ProbeExamples(Dataset[Batch]):
    """Inputs and targets of training clips by (epoch, index), the same in every epoch.

    Args:
        task: gives the targets.
        inputs: of the clips.
        examples: the clips.
    """

    def __init__(self, task: ProbeTask, inputs: Inputs, examples: Sequence[Example]) -> None:
        self.task, self.inputs, self.examples = task, inputs, examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        example = self.examples[key[1]]
        return self.inputs.read(example), self.task.targets(example.video, example.view, True)


class ProbeStage(Stage):
    """A head, trained on clips by the loss of its task.

    Args:
        task: what is asked.
        head: of the task.
        inputs: of the clips.
        examples: of the training.
        live: computes features from inputs that are frames; None = inputs are features.
        folder: that `export` writes the head into.
        place_bases: see `LearnedProbeConfig`.

    Attributes:
        learning: what learns of the backbone, if anything.
    """

    def __init__(
        self,
        task: ProbeTask,
        head: nn.Module,
        inputs: Inputs,
        examples: Sequence[Example],
        live: LiveFeatures | None,
        folder: Path,
        place_bases: int = 0,
    ) -> None:
        self.task, self.head, self.live, self.folder = task, head, live, folder
        self.inputs, self.place_bases = inputs, place_bases
        self.data: ProbeExamples = ProbeExamples(task, inputs, examples)
        self.num_examples = len(examples)
        self.collate = collate_clips
        parts = {"head": head} if live is None else {"head": head, "live": live}
        self.modules = nn.ModuleDict(parts)
        self.device = torch.device("cpu")
        self.learning: BackboneTraining | None = None

    def layers(self) -> list[nn.Module]:
        return [] if self.live is None else self.live.backbone.layer_modules()

    def move(self, device: torch.device) -> None:
        self.device = device
        self.modules.to(device)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        inputs, targets = batch
        features = self._features(inputs.to(self.device))
        return self.task.losses(self.head, features, _moved(targets, self.device))

    def draw_samples(self, folder: Path) -> None:
        """Write the metrics of some training clips: much better than the test's = overfitted."""
        some = self.data.examples[:: -(-len(self.data) // NUM_SAMPLES)]
        metrics = self.task.summarize([self.score([example]) for example in some])
        (folder / "training_clips.json").write_text(json.dumps(metrics) + "\n")

    def export(self) -> None:
        """Write the head, and what learned of the backbone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().cpu() for name, value in self.head.state_dict().items()}
        with replace_when_complete(self.folder / HEAD_FILE) as partial:
            save_file(state, partial)
        if self.learning is not None:
            self.learning.export(self.folder)

    @torch.no_grad()
    def score(self, views: Sequence[Example]) -> Record:
        """Answer for the views of one video and score them; see `ProbeTask.score`."""
        return self.task.score(*self._answer(views))

    @torch.no_grad()
    def draw(self, views: Sequence[Example], folder: Path) -> None:
        """Draw the answers for the views of one video, if the task is a `DrawingTask`."""
        if isinstance(self.task, DrawingTask):
            answers, _ = self._answer(views)
            self.task.draw(views[0].video, [each.view for each in views], answers, folder)

    def _answer(self, views: Sequence[Example]) -> tuple[list[Tensors], list[Tensors]]:
        """Answers and targets of the views of one video, on the CPU."""
        self.modules.eval()
        answers, targets = [], []
        for example in views:
            asked = self.task.targets(example.video, example.view, False)
            generator = torch.Generator(self.device).manual_seed(int(example.key[:15], 16))
            inputs = self.inputs.read(example)[None].to(self.device)
            one = {name: value[None].to(self.device) for name, value in asked.items()}
            answer = self.task.answer(self.head, self._features(inputs, generator), one)
            answers.append({name: value[0].cpu() for name, value in answer.items()})
            targets.append(asked)
        return answers, targets

    def _features(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        features = inputs if self.live is None else self.live(inputs, generator)
        return append_places(features, self.place_bases) if self.place_bases else features


def collate_clips(examples: list[Batch]) -> Any:
    """Stack clips.

    Raises:
        ValueError: they differ in size.
    """
    shapes = {tuple(inputs.shape) for inputs, _ in examples}
    if len(shapes) > 1:
        raise ValueError(
            f"expected clips of one size, got {' and '.join(map(str, sorted(shapes)))}; set "
            "view.size, or view.short_side and view.crop"
        )
    return default_collate(examples)


def _moved(tensors: Tensors, device: torch.device) -> Tensors:
    return {name: value.to(device) for name, value in tensors.items()}
