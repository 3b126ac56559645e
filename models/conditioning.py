"""What VD-IT adds in front of the frozen UNet: an image-aware prompt and a predicted noise."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NoiseStatistics = Literal["batch", "clip"]


class NoisePredictor(nn.Module):
    """Predict the noise that is added to a clip's latents from the latents themselves.

    Gaussian noise destroys detail of the frames; noise that depends on the video keeps it. The
    output has zero mean and unit variance over the whole tensor ("batch", as released, so clips
    of a batch and all frames are coupled) or over each clip.

    Args:
        latent_dim: channels of the VAE latents.
        statistics: what mean and standard deviation are taken over.

    Shape:
        scaled latents [B, T, C, h, w] -> noise of the same shape, float32.

    Reference: Zhu et al., VD-IT, ECCV 2024, Eq. 2; the released code has two linear layers.
    """

    def __init__(self, latent_dim: int = 4, statistics: NoiseStatistics = "batch") -> None:
        super().__init__()
        self.statistics = statistics
        self.conv = nn.Conv2d(latent_dim, latent_dim, 3, padding=1)
        self.mlp = nn.Sequential(
            nn.Linear(latent_dim, latent_dim, bias=False),
            nn.ReLU(),
            nn.Linear(latent_dim, latent_dim, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, latents: Tensor) -> Tensor:
        raw = self.conv(latents.flatten(0, 1))
        # statistics of half precision lose the small differences that they are of
        raw = self.mlp(raw.movedim(1, -1)).movedim(-1, 1).reshape(latents.shape).float()
        axes = (0, 1, 2, 3, 4) if self.statistics == "batch" else (1, 2, 3, 4)
        mean = raw.mean(dim=axes, keepdim=True)
        std = raw.std(dim=axes, keepdim=True)
        return (raw - mean) / (std + 1e-5)


class ResidualMLP(nn.Module):
    """Two linear layers without an activation, the second one residual: [..., C_in] -> [..., C]."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, dim)
        self.linear2 = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.linear1(tokens)
        return self.linear2(hidden) + hidden


class TextGuidedImageProjection(nn.Module):
    """Let every word look at one frame's image tokens: the prompt of that frame.

    Words are queries, projected image tokens keys and values; neither pads nor padded image area
    are masked. A post-norm residual feed-forward follows.

    Args:
        text_dim: channels of the text tower and of the UNet's cross-attention.
        image_dim: channels of the image tokens.
        num_heads: attention heads.

    Shape:
        text [N, L, text_dim], image tokens [N, S, image_dim] -> prompt [N, L, text_dim].

    Reference: Zhu et al., VD-IT, ECCV 2024, Eq. 1 (single head there, 16 in the released code).
    """

    def __init__(self, text_dim: int = 1024, image_dim: int = 1280, num_heads: int = 16) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.image_projection = ResidualMLP(image_dim, text_dim)
        self.query = nn.Linear(text_dim, text_dim, bias=False)
        self.key = nn.Linear(text_dim, text_dim, bias=False)
        self.value = nn.Linear(text_dim, text_dim, bias=False)
        self.output = nn.Linear(text_dim, text_dim, bias=False)
        self.attention_norm = nn.LayerNorm(text_dim, eps=1e-6)
        self.linear1 = nn.Linear(text_dim, text_dim // 2)
        self.linear2 = nn.Linear(text_dim // 2, text_dim)
        self.feed_forward_norm = nn.LayerNorm(text_dim, eps=1e-6)

    def project(self, image_tokens: Tensor) -> Tensor:
        """Bring image tokens [..., image_dim] to the prompt's space [..., text_dim]."""
        return self.image_projection(image_tokens)

    def attend(self, text: Tensor, projected: Tensor) -> Tensor:
        """Cross-attention, residual and norm: [N, L, C], [N, S, C] -> [N, L, C]."""
        query, key, value = (
            layer(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, tokens in (
                (self.query, text),
                (self.key, projected),
                (self.value, projected),
            )
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.attention_norm(self.output(attended.transpose(1, 2).flatten(2)) + text)

    def forward(self, text: Tensor, image_tokens: Tensor) -> Tensor:
        hidden = self.attend(text, self.project(image_tokens))
        update = self.linear2(torch.relu(self.linear1(hidden)))
        return self.feed_forward_norm(update + hidden)
