"""Video Swin: features at four strides from a transformer on shifted 3-D windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.unet3d import collect
from vdit.models.backbones.video_swin_network import VideoSwin
from vdit.models.backbones.vision_encoder import VisionEncoder


class VideoSwinBackbone(VisionEncoder):
    """Features of a Video Swin transformer; every stage halves height and width.

    Blocks: "stage1".."stage4" (the residual stream at the end of a stage, before it is merged to
    the next) and "last" ("stage4" after the final norm). Maps of sizes that are no multiple of
    a stride are padded on the right and at the bottom, so a map has ceil(H / stride) rows. T must
    be even: a token spans two frames. Any length works.

    Args:
        network: the transformer.

    Reference: Liu et al., Video Swin Transformer, CVPR 2022.
    """

    temporal = True

    def __init__(self, network: VideoSwin) -> None:
        super().__init__()
        config = network.config
        self.network = network
        self.frame_multiple, stride, _ = config.patch_size
        self.blocks = {
            f"stage{i + 1}": BlockInfo(config.width(i), stride * 2**i, self.frame_multiple)
            for i in range(len(config.depths))
        }
        self.blocks["last"] = self.blocks[f"stage{len(config.depths)}"]
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`; a stage begins with the merging of the one before."""
        found: dict[str, list[nn.Module]] = {"in": [self.network.patch_embed]}
        merging: list[nn.Module] = []
        for index, stage in enumerate(self.network.stages):
            found[f"stage{index + 1}"] = [*merging, stage.blocks]
            merging = [stage.downsample]
        return found | {"last": [self.network.norm]}

    def compute(self, frames: Tensor, blocks: Sequence[str]) -> dict[str, Tensor]:
        """See `VisionEncoder.compute`."""
        return collect(self.walk(frames), blocks)

    def walk(self, frames: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (block, [B, T', C, h, w]) of normalized frames [B, T, 3, H, W], one by one."""
        hidden = self.network.patch_embed(frames.transpose(1, 2))
        for index, stage in enumerate(self.network.stages):
            for block in stage.blocks:
                hidden = self.run(block, hidden)
            yield f"stage{index + 1}", channels_first(hidden)
            hidden = stage.downsample(hidden)
        yield "last", channels_first(self.network.norm(hidden))


def channels_first(hidden: Tensor) -> Tensor:
    """Turn [B, T, h, w, C] into [B, T, C, h, w]."""
    return hidden.permute(0, 1, 4, 2, 3).contiguous()
