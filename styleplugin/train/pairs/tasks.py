"""What a pair is trained for: reconstruction and then stylization (WCT), or stylization (AdaIN)."""

from __future__ import annotations

import torch
from torch import Tensor

from styleplugin.train.networks.autoencoders import DistillTask
from styleplugin.train.networks.teachers import wanted_statistics
from styleplugin.transforms.adain import adain
from styleplugin.transforms.losses import (
    feature_distance,
    grid_error,
    mse,
    picture_errors,
    statistics_of,
    style_distance,
)
from styleplugin.transforms.weave import weave_error


class ReconstructionTask(DistillTask):
    """WCT: the picture must come back, as pixels and as the loss network's features.

    Source: Wang et al. 2020, collaboration loss.
    """

    def forward(self, content: Tensor) -> dict[str, Tensor]:
        """Return "loss" and its parts for (N, 3, H, W) in [0, 1]."""
        # Half the time of a step, so the loss network sees no more than it has to.
        needs_all = self.weights["perceptual"] or self.autoencoder.decodes_judged
        count = len(content) if needs_all else max(1, round(self.share * len(content)))
        judged = self.judged(content[:count])
        features, embedding = self.autoencoder.encode(content, judged)
        output = self.autoencoder.decode(features)
        parts = {"pixel": mse(output, content), "embedding": embedding}
        if self.weights["perceptual"]:
            parts["perceptual"] = feature_distance(self.loss_network.features(output), judged)
        return self.weigh(parts)


class StylizationTask(DistillTask):
    """AdaIN: the output must have the features of the transformed content and the statistics of the style.

    With weights of pixel and perceptual loss, a quarter of the contents are also their own style and must come back:
    AdaIN changes nothing then.

    Source: Huang and Belongie 2017. Differs: the content target is made from the loss network's features in all phases,
    so that it does not move with the student; the reconstruction terms.
    """

    needs_style = True

    def forward(
        self, content: Tensor, style: Tensor, picture: Tensor | None = None, statistics: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return "loss" and its parts.

        Args:
            content: (N, 3, H, W) in [0, 1].
            style: Of the same shape.
            picture: Of the same shape: a painter's.
            statistics: Of the styles as the loss network sees them, `joined`, where they are known.
        """
        count = len(content)
        images = torch.cat([content, style])
        needs_all = any(self.weights[name] for name in ("content", "perceptual", "embedding"))
        judged = self.judged(images) if needs_all or self.autoencoder.decodes_judged else []
        features, embedding = self.autoencoder.encode(images, judged if needs_all else [])
        features = features.float()
        own = count // 4 if self.weights["pixel"] or self.weights["perceptual"] else 0
        output = self.autoencoder.decode(torch.cat([adain(features[:count], features[count:]), features[:own]]))
        # Parts of features would get gradients in another layout, which all layers before them pay for.
        shown = self.loss_network.features(output[:count])
        wanted = wanted_statistics(self.loss_network, style, statistics, shown)
        parts = {"style": style_distance(statistics_of(shown), wanted), "embedding": embedding}
        if self.weights["content"]:
            parts["content"] = mse(shown[-1], adain(judged[-1][:count].float(), judged[-1][count:].float()))
        if picture is not None:
            parts |= picture_errors(output[:count], shown, picture, self.judged(picture))
        if self.weights["grid"]:
            parts["grid"] = grid_error(output[:count], self.loss_network.vgg.spec.stride)
        if self.weights["weave"]:
            parts["weave"] = weave_error(output[:count], content)
        if own:
            originals = [feature[:own] for feature in judged]
            parts["pixel"] = mse(output[count:], content[:own])
            if self.weights["perceptual"]:
                parts["perceptual"] = feature_distance(self.loss_network.features(output[count:]), originals)
        return self.weigh(parts)

    @torch.no_grad()
    def stylize(self, content: Tensor, style: Tensor) -> Tensor:
        """Stylize contents with styles of the same number, for contact sheets."""
        features = [self.autoencoder.encode(image, self.judged(image))[0].float() for image in (content, style)]
        return self.autoencoder.decode(adain(*features))
