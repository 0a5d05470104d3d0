"""What a pair is trained for: reconstruction and then stylization (WCT), or stylization (AdaIN)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from styleplugin.losses import feature_distance, mse, style_distance, style_error
from styleplugin.train.coders import DistillTask, RobustDecoderCoder
from styleplugin.transforms.adain import adain
from styleplugin.transforms.wct import wct


class ReconstructionTask(DistillTask):
    """WCT: the picture must come back, as pixels and as the judge's features.

    Source: Wang et al. 2020, collaboration loss.
    """

    def forward(self, content: Tensor) -> dict[str, Tensor]:
        """Return "loss" and its parts for (N, 3, H, W) in [0, 1]."""
        # Half the time of a step, so the judge sees no more than it has to.
        needs_all = self.weights["perceptual"] or self.coder.decodes_judged
        count = len(content) if needs_all else max(1, round(self.share * len(content)))
        judged = self.judged(content[:count])
        features, embedding = self.coder.encode(content, judged)
        output = self.coder.decode(features)
        parts = {"pixel": mse(output, content), "embedding": embedding}
        if self.weights["perceptual"]:
            parts["perceptual"] = feature_distance(self.judge.features(output), judged)
        return self.weigh(parts)


class StyledTask(DistillTask):
    """A task whose pictures take the statistics of a style."""

    needs_style = True
    transform: Callable[[Tensor, Tensor], Tensor]
    """Gives features of contents the statistics of their styles' features, both (N, C, H, W)."""

    @torch.no_grad()
    def stylize(self, content: Tensor, style: Tensor) -> Tensor:
        """Stylize contents with styles of the same number, for contact sheets."""
        features = [self.coder.encode(image, self.judged(image))[0].float() for image in (content, style)]
        return self.coder.decode(self.transform(*features))


class TransferTask(StyledTask):
    """WCT as it is used: pictures decoded from whitened and colored features must have the style's statistics and, seen
    by the same encoder, the features they were decoded from; half of the contents and styles must come back.

    Whitened and colored features lie outside of what reconstruction shows a decoder: at levels 4 and 5 it answers with
    blur and grids. The transform is a constant of the step, so only decoders can learn from it.

    Source: ours, after the losses of Huang and Belongie 2017 and Park and Lee 2019; the paper trains on pictures alone.
    """

    transform = staticmethod(wct)
    coder: RobustDecoderCoder

    def forward(self, content: Tensor, style: Tensor) -> dict[str, Tensor]:
        """Return "loss" and its parts for contents and styles, each (N, 3, H, W) in [0, 1]."""
        images = torch.cat([content, style])
        features, _ = self.coder.encode(images, [])
        colored = self.transform(*features.float().split(len(content))).to(features.dtype)
        own = features[::2]
        output = self.coder.decode(torch.cat([own, colored]))
        stylized = output[len(own) :]
        seen = self.judge.features(stylized)
        again = self.coder.encoder(stylized)
        parts = {
            "pixel": mse(output[: len(own)], images[::2]),
            "style": style_error(seen, self.judged(style), [1.0] * len(seen)),
            "feature": mse(again, colored) / colored.float().var().clamp_min(1e-6),
        }
        return self.weigh(parts)


class StylizationTask(StyledTask):
    """AdaIN: the output must have the features of the transformed content and the statistics of the style.

    With weights of pixel and perceptual loss, a quarter of the contents are also their own style and must come back:
    AdaIN changes nothing then.

    Source: Huang and Belongie 2017. Differs: the content target is made from the judge's features in all phases, so
    that it does not move with the student; the reconstruction terms.
    """

    transform = staticmethod(adain)

    def forward(self, content: Tensor, style: Tensor) -> dict[str, Tensor]:
        """Return "loss" and its parts for contents and styles, each (N, 3, H, W) in [0, 1]."""
        count = len(content)
        images = torch.cat([content, style])
        judged = self.judged(images)
        styles = [feature[count:] for feature in judged]
        target = adain(judged[-1][:count].float(), judged[-1][count:].float())
        features, embedding = self.coder.encode(images, judged)
        features = features.float()
        own = count // 4 if self.weights["pixel"] or self.weights["perceptual"] else 0
        output = self.coder.decode(torch.cat([adain(features[:count], features[count:]), features[:own]]))
        seen = self.judge.features(output)
        parts = {
            "content": mse(seen[-1][:count], target),
            "style": style_distance([feature[:count] for feature in seen], styles),
            "embedding": embedding,
        }
        if own:
            originals = [feature[:own] for feature in judged]
            parts["pixel"] = mse(output[count:], content[:own])
            parts["perceptual"] = feature_distance([feature[count:] for feature in seen], originals)
        return self.weigh(parts)
