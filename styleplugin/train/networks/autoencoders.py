"""The phases of a pair: which encoder meets which decoder, and which of them is trained.

Source: Wang et al. 2020. Differs: the preprocessing is a constant here, in the official code it drifted; decoders are
trained without their last ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.vgg import Decoder, Encoder
from styleplugin.train.networks.teachers import LossNetwork
from styleplugin.train.pruning.pruned import PrunedAutoencoder
from styleplugin.transforms.losses import feature_distance, weigh

WEIGHTS = ("pixel", "perceptual", "embedding", "content", "style", "grid", "weave", "taught", "picture")
"""Parts of the loss of a pair, names of fields of `PhaseOptions`."""


class Autoencoder(nn.Module):
    """An encoder and a decoder in training; `trained` is the part that learns, the rest is frozen."""

    trained: nn.Module
    decodes_judged = False
    """Whether the loss network's features are what is decoded."""

    def encode(self, image: Tensor, judged: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the features to decode, and the embedding loss if there is one.

        Args:
            image: (N, 3, H, W) in [0, 1].
            judged: The loss network's features of the first pictures, level 1 first.
        """
        raise NotImplementedError

    def decode(self, features: Tensor) -> Tensor:
        """Return (N, 3, H, W), not clamped."""
        raise NotImplementedError


def drop_final_relu(decoder: Decoder) -> Decoder:
    """Leave out the last ReLU of a WCT decoder in training: behind it, a black picture would have no gradient.

    The files have it again. It only helps there, since no pixel should be negative.
    """
    last = decoder.layers()[-1]
    assert isinstance(last, Conv3x3)
    last.relu = False
    return decoder


class TeacherDecoderAutoencoder(Autoencoder):
    """The loss network as encoder, a full-width decoder that learns."""

    decodes_judged = True

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.trained = drop_final_relu(decoder).requires_grad_(True)

    def encode(self, image: Tensor, judged: list[Tensor]) -> tuple[Tensor, None]:
        """Return the loss network's deepest features."""
        return judged[-1], None

    def decode(self, features: Tensor) -> Tensor:
        """Run the full-width decoder."""
        return self.trained(features)


class PruningAutoencoder(Autoencoder):
    """The teacher's encoder and its decoder, which learn together while they lose channels."""

    trained: PrunedAutoencoder

    def __init__(self, trained: PrunedAutoencoder) -> None:
        super().__init__()
        drop_final_relu(trained.decoder)
        self.trained = trained.requires_grad_(True)

    def encode(self, image: Tensor, judged: list[Tensor]) -> tuple[Tensor, None]:
        """Return the features of the encoder in training."""
        return self.trained.encoder(image), None

    def decode(self, features: Tensor) -> Tensor:
        """Run the decoder in training."""
        return self.trained.decoder(features)


class StudentEncoderAutoencoder(Autoencoder):
    """A small encoder and its linear embeddings that learn for the frozen full-width decoder."""

    def __init__(self, encoder: EmbeddedEncoder, teacher_decoder: Decoder) -> None:
        super().__init__()
        self.trained = encoder.requires_grad_(True)
        self.teacher_decoder = drop_final_relu(teacher_decoder).eval().requires_grad_(False)

    def encode(self, image: Tensor, judged: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the deepest embedding; the loss compares all of them with the loss network's features."""
        embedded = self.trained.features(image)  # type: ignore[operator]
        return embedded[-1], feature_distance([feature[: len(judged[0])] for feature in embedded], judged)

    def decode(self, features: Tensor) -> Tensor:
        """Run the frozen full-width decoder."""
        return self.teacher_decoder(features)


class StudentDecoderAutoencoder(Autoencoder):
    """The frozen small encoder, a small decoder that learns."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.trained = drop_final_relu(decoder).requires_grad_(True)

    @torch.no_grad()
    def encode(self, image: Tensor, judged: list[Tensor]) -> tuple[Tensor, None]:
        """Return the small encoder's features."""
        return self.encoder(image), None

    def decode(self, features: Tensor) -> Tensor:
        """Run the small decoder."""
        return self.trained(features)


class StudentPairAutoencoder(Autoencoder):
    """Small encoder and small decoder learn together; the embeddings keep the features the teacher's.

    The paper leaves the encoder alone after it was trained through the teacher's decoder, for some 1e5 steps. In a
    short training that encoder does not yet keep what a picture is made of; with its own decoder it learns to.
    """

    def __init__(self, encoder: EmbeddedEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.trained = nn.ModuleDict({"encoder": encoder, "decoder": drop_final_relu(decoder)}).requires_grad_(True)
        self.embedded, self.decoder = encoder, decoder

    def encode(self, image: Tensor, judged: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the small encoder's features; the loss compares their embeddings with the loss network's, if any."""
        features = self.embedded.encoder.features(image)
        if not judged:
            return features[-1], None
        pairs = zip(self.embedded.embeddings, features, strict=True)
        embedded = [embed(feature[: len(judged[0])]) for embed, feature in pairs]
        return features[-1], feature_distance(embedded, judged)

    def decode(self, features: Tensor) -> Tensor:
        """Run the small decoder."""
        return self.decoder(features)


class DistillTask(nn.Module):
    """A step of training: owns loss network and autoencoder, returns the losses.

    Args:
        loss_network: Frozen.
        autoencoder: One of the phases.
        weights: Of the losses, by `WEIGHTS`.
        judged: Share of a batch that the embedding loss looks at, where nothing else needs the loss network.
    """

    needs_style = False

    def __init__(
        self, loss_network: LossNetwork, autoencoder: Autoencoder, weights: dict[str, float], judged: float = 1.0
    ) -> None:
        super().__init__()
        self.share = judged
        self.loss_network = loss_network
        self.autoencoder = autoencoder
        self.weights = weights

    @torch.no_grad()
    def judged(self, image: Tensor) -> list[Tensor]:
        """Return the loss network's features of an image, without gradients."""
        return self.loss_network.features(image)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Encode and decode (N, 3, H, W) in [0, 1], for validation."""
        features, _ = self.autoencoder.encode(image, self.judged(image))
        return self.autoencoder.decode(features)

    def weigh(self, parts: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Add the weighted sum as "loss" to the named losses that there are."""
        return weigh({name: value for name, value in parts.items() if value is not None}, self.weights)
