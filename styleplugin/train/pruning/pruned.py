"""An autoencoder at the teacher's widths that loses channels while it trains, until it has the student's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.vgg import Decoder, Encoder
from styleplugin.train.pruning.sparsity import RULES

Keeps = dict[str, list[int]]
"""Channels that stay, by "encoder.conv1_1" ..., in ascending order."""


class PrunedAutoencoder(nn.Module):
    """A wide encoder and decoder with a rule at work on all their hidden channels.

    Args:
        rule: A name of `RULES`.
        encoder: Of the teacher, trainable.
        decoder: Behind it.
        widths: The student's, in encoder order; encoder layer and mirrored decoder layer get the same width, and choose
            their channels independently.
        seed: Of the random numbers.
    """

    def __init__(
        self,
        rule: str,
        encoder: Encoder,
        decoder: Decoder,
        widths: Sequence[int],
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.widths = tuple(widths)
        self._convs = [(f"encoder.{name}", conv) for name, conv in _convs(encoder)]
        self._convs += [(f"decoder.{name}", conv) for name, conv in _convs(decoder)]
        stay = (*self.widths, *reversed(self.widths[:-1]))
        convs = [conv for _, conv in self._convs]
        layers = list(zip(convs, convs[1:], stay, strict=False))
        self.pruner = RULES[rule](layers, seed)

    def keeps(self) -> Keeps:
        """Return the channels that are left."""
        names = (name for name, _ in self._convs)
        return {name: groups.kept for name, groups in zip(names, self.pruner.groups, strict=False)}

    @torch.no_grad()
    def cut(self) -> tuple[Encoder, Decoder]:
        """Return the networks without the removed channels; they compute the same."""
        device = next(self.encoder.parameters()).device
        encoder = Encoder(replace(self.encoder.spec, widths=self.widths)).to(device)
        decoder = Decoder(replace(self.decoder.spec, widths=self.widths)).to(device)
        narrows = [conv for network in (encoder, decoder) for _, conv in _convs(network)]
        inputs, keeps = [0, 1, 2], self.keeps()
        for (name, wide), narrow in zip(self._convs, narrows, strict=True):
            outputs = keeps.get(name, [0, 1, 2])
            narrow.weight.copy_(wide.weight[outputs][:, inputs])
            narrow.get_parameter("bias").copy_(wide.get_parameter("bias")[outputs])
            inputs = outputs
        return encoder, decoder


def _convs(network: Encoder | Decoder) -> list[tuple[str, Conv3x3]]:
    """Return the convolutions of a network by name, in the order they run."""
    order = {id(layer): place for place, layer in enumerate(network.layers())}
    named = [(name, layer) for name, layer in network.named_children() if isinstance(layer, Conv3x3)]
    return sorted(named, key=lambda item: order[id(item[1])])
