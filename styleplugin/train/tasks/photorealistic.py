"""What a photorealistic student is trained for: the teacher's principal components, and the picture back.

Source: Chiu and Gurari 2022, section 4 and the official code. Differs: each loss is relative to the size of what it is
compared with; a last phase trains all blocks together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from styleplugin.methods.photorealistic.model import PhotoModel
from styleplugin.transforms.losses import feature_distance, mse, weigh


class PhotoTrainable:
    """A student, and the blocks of it that learn."""

    def __init__(self, model: PhotoModel, blocks: Sequence[int]) -> None:
        """Freeze all but some blocks, 0 to 3, of encoder and decoder."""
        self.model = model
        self.blocks = list(blocks)
        model.requires_grad_(False)
        halves = (model.encoder.blocks, model.decoder.blocks)
        self.trained = nn.ModuleList(half[block] for half in halves for block in self.blocks).requires_grad_(True)


class PhotoTask(nn.Module):
    """A step of training: owns student, teacher and bases, returns the losses."""

    def __init__(
        self, trainable: PhotoTrainable, teacher: nn.Module, bases: Sequence[Tensor], weights: dict[str, float]
    ) -> None:
        """Keep the bases, (C, d) each, frozen; the weights are distill, pixel, feature and perceptual."""
        super().__init__()
        self.model = trainable.model
        self.blocks = trainable.blocks
        self.teacher = teacher
        self.weights = weights
        self.bases = nn.ParameterList(nn.Parameter(basis, requires_grad=False) for basis in bases)

    def forward(self, content: Tensor) -> dict[str, Tensor]:
        """Return "loss" and its parts for (N, 3, H, W) in [0, 1]."""
        last = max(self.blocks)
        with torch.no_grad():
            taught = self.teacher.features(content)  # type: ignore[operator]
        skips = [content, *self.model.encoder.features(content, last + 1)]
        # In use every block meets features with the statistics of a style's own ones, not only what the block behind it
        # decodes; so all blocks in training begin a chain of their own.
        decoded = {block: self.model.decoder.decode(skips[block + 1], skips, block) for block in self.blocks}
        parts = {
            "pixel": torch.stack([mse(maps[-1], content) for maps in decoded.values()]).mean(),
            "distill": torch.stack([self._unexplained(k, skips[k + 1], taught[k]) for k in self.blocks]).mean(),
        }
        if last > 0 and self.weights["feature"]:
            # The first map that a block decodes, beside the features that the encoder had there.
            pairs = [(maps[0], skips[block].detach()) for block, maps in decoded.items() if block > 0]
            parts["feature"] = torch.stack([_relative(own, wanted) for own, wanted in pairs]).mean()
        output = decoded[last][-1]
        if last > 0 and self.weights["perceptual"]:
            seen = self.teacher.features(output)  # type: ignore[operator]
            parts["perceptual"] = feature_distance(seen[last : last + 1], taught[last : last + 1])
        return weigh(parts, self.weights)

    def _unexplained(self, block: int, features: Tensor, taught: Tensor) -> Tensor:
        """Return how far a student's centered features are from the teacher's principal components, 1 for all of it."""
        target = principal_components(taught.float(), self.bases[block])
        own = features.float() - features.float().mean((2, 3), keepdim=True)
        return (own - target).square().sum() / target.square().sum().clamp_min(1e-6)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Encode and decode (N, 3, H, W) in [0, 1] as deep as the training has come."""
        skips = [image, *self.model.encoder.features(image, max(self.blocks) + 1)]
        return self.model.decoder.decode(skips[-1], skips, max(self.blocks))[-1]


def principal_components(features: Tensor, basis: Tensor) -> Tensor:
    """Return the coordinates (N, d, h, w) of features (N, C, h, w), centered per picture, in a basis (C, d)."""
    return torch.einsum("nchw,cd->ndhw", features - features.mean((2, 3), keepdim=True), basis)


def _relative(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distance of a to b, relative to b's variance over positions."""
    a, b = a.float(), b.float()
    spread = (b - b.mean((2, 3), keepdim=True)).square().mean()
    return (a - b).square().mean() / spread.clamp_min(1e-6)
