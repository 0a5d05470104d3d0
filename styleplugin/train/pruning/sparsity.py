"""Structured pruning while a network trains: SPP, IncReg and GReg, on groups of tied channels.

A group is one hidden channel: the filter and bias that make it and the slice of the next layer that reads it. All rules
end with exactly the widths that were asked for; `pruned.PrunedAutoencoder.cut` then takes the removed channels out.

Source: Wang et al. 2018 (SPP, BMVC), Wang et al. 2019 (IncReg, IJCNN and JSTSP), Wang et al. 2021 (GReg, ICLR);
methods.md 6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from styleplugin.networks.layers import Conv3x3
from styleplugin.train.data.pictures import step_generator

SHARE_AT_CENTER = 0.25
"""u of both papers: the ranking function falls to u A at its center."""
SPP_AMPLITUDE = 0.05
"""A of SPP: by how much the keep probability of the least important group falls at an update."""
LIMIT = 2.5
"""Penalty at which IncReg removes a group: 1e4 times its A, which is half of the usual weight decay 5e-4."""
DECAY = 0.1
"""Share of the penalty that a step takes from the weights: the learning rate 1e-4 relative to 1e-3."""
GREG_LIMIT = 1.0
"""Penalty at which GReg's growth ends."""
PACE = 9.5
"""A rule removes its last group after about 7 times limit / A updates (of 256 groups 192, with constant norms); so many
fill the steps of a phase with a quarter left to recover."""


def ranking_function(to_prune: int, amplitude: float, ranks: Tensor) -> Tensor:
    """Return the increment of each rank, the ranking function of SPP and IncReg.

    Args:
        to_prune: Groups still to remove, m >= 1.
        amplitude: A, the increment of rank 0.
        ranks: (N,), 0 is the least important group of those that are left.

    Returns:
        (N,): A at rank 0, 0 at rank m, negative beyond; symmetric about its center.

    Source: methods.md 6.2.
    """
    alpha = math.log(2 / SHARE_AT_CENTER) / to_prune
    center = -math.log(SHARE_AT_CENTER) / alpha
    falling = amplitude * torch.exp(-alpha * ranks)
    mirrored = 2 * SHARE_AT_CENTER * amplitude - amplitude * torch.exp(-alpha * (2 * center - ranks))
    return torch.where(ranks < center, falling, mirrored)


class ChannelGroups(nn.Module):
    """The channels of one layer, and what a rule knows about them. The layers themselves are not part of it.

    Args:
        conv: Makes the channels.
        reader: Reads them.
        width: Channels that stay, at least 1.
    """

    removed: Tensor
    """(C,) 1 where a group is gone."""
    value: Tensor
    """(C,) keep probability of SPP, penalty of IncReg and GReg."""
    rank: Tensor
    """(C,) running mean of the ranks; IncReg."""

    def __init__(self, conv: Conv3x3, reader: Conv3x3, width: int, start: float) -> None:
        super().__init__()
        count = conv.out_channels
        # Not registered: the layers belong to their networks.
        self._layers = (conv, reader)
        self.width = max(1, min(width, count))
        self.register_buffer("removed", torch.zeros(count, dtype=torch.float32, device="cpu"))
        self.register_buffer("value", torch.full((count,), start, dtype=torch.float32, device="cpu"))
        self.register_buffer("rank", torch.zeros(count, dtype=torch.float32, device="cpu"))

    @property
    def to_prune(self) -> int:
        """Groups still to remove."""
        return len(self.removed) - self.width - int(self.removed.sum())

    @property
    def kept(self) -> list[int]:
        """The channels that are left, in their order."""
        return (self.removed == 0).nonzero()[:, 0].tolist()

    def scores(self) -> Tensor:
        """Return the L1 norm of each filter, (C,)."""
        return self._layers[0].weight.detach().abs().sum((1, 2, 3))

    def ranks(self, scores: Tensor) -> Tensor:
        """Return the rank of each group among those that are left; removed groups come last."""
        order = scores.masked_fill(self.removed > 0, math.inf).argsort(stable=True)
        ranks = torch.empty_like(scores)
        ranks[order] = torch.arange(len(scores), dtype=scores.dtype, device=scores.device)
        return ranks

    @torch.no_grad()
    def remove(self, candidates: Tensor, scores: Tensor) -> int:
        """Remove the least important candidates, a mask (C,), as many as are still to prune at most; return how many.

        Their weights stay zero from then on (`silence`).
        """
        ranks = self.ranks(scores).masked_fill(~candidates | (self.removed > 0), math.inf)
        chosen = ranks.argsort()[: min(self.to_prune, int(ranks.isfinite().sum()))]
        self.removed[chosen] = 1
        return len(chosen)

    @torch.no_grad()
    def scale(self, factor: Tensor) -> None:
        """Multiply filter and bias of each channel by a factor (C,)."""
        conv = self._layers[0]
        conv.weight.mul_(factor[:, None, None, None])
        conv.get_parameter("bias").mul_(factor)

    def filters(self) -> tuple[Tensor, Tensor]:
        """Return copies of filters and bias."""
        conv = self._layers[0]
        return conv.weight.detach().clone(), conv.get_parameter("bias").detach().clone()

    @torch.no_grad()
    def restore(self, filters: tuple[Tensor, Tensor]) -> None:
        """Put filters and bias back."""
        conv = self._layers[0]
        for tensor, value in zip((conv.weight, conv.get_parameter("bias")), filters, strict=True):
            tensor.copy_(value)

    @torch.no_grad()
    def scale_gradient(self, factor: Tensor) -> None:
        """The same for the gradients of filter and bias."""
        conv = self._layers[0]
        for tensor in (conv.weight.grad, conv.get_parameter("bias").grad):
            if tensor is not None:
                tensor.mul_(factor.view(-1, *[1] * (tensor.dim() - 1)))

    @torch.no_grad()
    def scale_group(self, factor: Tensor) -> None:
        """Multiply all that belongs to each channel by a factor: filter, bias, and the slice that reads it."""
        self.scale(factor)
        self._layers[1].weight.mul_(factor[None, :, None, None])

    def silence(self) -> None:
        """Set the weights of removed groups to zero."""
        self.scale_group(1 - self.removed)


Layer = tuple[Conv3x3, Conv3x3, int]
"""A layer, its reader, and the channels that stay."""


class Pruner(nn.Module):
    """A rule at work on the layers of a network: `at_work` around forward and backward pass, `after` after the step.

    Its buffers are its whole state, so that a checkpoint of the network that holds it can be resumed exactly.

    Args:
        layers: Each prunable layer.
        seed: Of the random numbers.
    """

    steps: Tensor
    """Steps done, a number."""
    start = 0.0
    """First value of each group."""

    def __init__(self, layers: Sequence[Layer], seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.groups = [ChannelGroups(conv, reader, width, self.start) for conv, reader, width in layers]
        # Registers them; a ModuleList forgets the type of what it holds.
        self._groups = nn.ModuleList(self.groups)
        self.amplitude, self.every = 0.0, 1
        self.register_buffer("steps", torch.zeros((), dtype=torch.float32, device="cpu"))

    def pace(self, steps: int, amplitude: float = 0.0, every: int = 0) -> None:
        """Set amplitude and steps between updates; 0 chooses, so that the rule fills a phase of these steps."""
        usual = self.schedule(steps)
        self.amplitude, self.every = amplitude or usual[0], every or usual[1]

    def schedule(self, steps: int) -> tuple[float, int]:
        """Return amplitude and steps between updates with which the rule fills a phase."""
        return PACE * LIMIT / steps, 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Change weights for the block, a forward and a backward pass, and mend them and the gradients."""
        yield

    def after(self) -> None:
        """Move on after the optimizer's step: update the values, remove what is due."""
        self.steps += 1
        if int(self.steps) % self.every == 0:
            for groups in self.groups:
                if groups.to_prune:
                    self.update(groups)
        for groups in self.groups:
            self.press(groups)
            groups.silence()

    def update(self, groups: ChannelGroups) -> None:
        """Change the values of a layer that is not finished, and remove groups."""
        raise NotImplementedError

    def press(self, groups: ChannelGroups) -> None:
        """Act on the weights between updates."""

    @torch.no_grad()
    def finish(self) -> int:
        """Remove at once what is still to prune, by the rule's own values; return how many groups that were."""
        forced = 0
        for groups in self.groups:
            everything = torch.ones_like(groups.removed, dtype=torch.bool)
            forced += groups.remove(everything, self.final_scores(groups))
            groups.silence()
        return forced

    def final_scores(self, groups: ChannelGroups) -> Tensor:
        """Return what decides at the end; the smallest go."""
        return groups.scores()


class SPP(Pruner):
    """Structured probabilistic pruning: filters drop out with a probability that grows for unimportant ones.

    Source: Wang et al. 2018, with the constants of the authors' code; methods.md 6.3.
    """

    start = 1.0

    def schedule(self, steps: int) -> tuple[float, int]:
        """Keep the authors' A and stretch the time between updates; take a larger A where there are few steps."""
        updates = round(PACE / SPP_AMPLITUDE)
        return max(SPP_AMPLITUDE, PACE / steps), max(1, steps // updates)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Draw which filters take part and silence the others; these learn nothing in this step."""
        generator = step_generator(self.seed, "spp", int(self.steps))
        drawn = []
        for groups in self.groups:
            draw = torch.rand(len(groups.value), generator=generator, dtype=torch.float32, device="cpu")
            mask = (draw.to(groups.value) < groups.value).float()
            drawn.append((groups, mask, groups.filters()))
            groups.scale(mask)
        yield
        for groups, mask, filters in drawn:
            groups.restore(filters)
            groups.scale_gradient(mask)

    @torch.no_grad()
    def update(self, groups: ChannelGroups) -> None:
        """Lower the probabilities of the least important filters; one at 0 is removed for good."""
        scores = groups.scores()
        change = ranking_function(groups.to_prune, self.amplitude, groups.ranks(scores))
        left = groups.removed == 0
        groups.value.copy_(torch.where(left, (groups.value - change).clamp(0, 1), 0))
        groups.remove(groups.value <= 0, scores)
        if not groups.to_prune:
            self._settle(groups)

    @staticmethod
    def _settle(groups: ChannelGroups) -> None:
        """Keep the expected output of the filters that stay, once, and let them take part always."""
        groups.scale(groups.value)
        groups.value.copy_(1 - groups.removed)

    @torch.no_grad()
    def finish(self) -> int:
        """Remove what is left to prune, the least probable first, and settle these layers."""
        unfinished = [groups for groups in self.groups if groups.to_prune]
        forced = super().finish()
        for groups in unfinished:
            self._settle(groups)
        return forced

    def final_scores(self, groups: ChannelGroups) -> Tensor:
        """The least probable go, among equals those of the smallest norm."""
        scores = groups.scores()
        return groups.value + 1e-3 * scores / scores.max().clamp_min(1e-12)


class IncReg(Pruner):
    """Incremental regularization: a penalty for each filter that grows with its unimportance.

    Source: Wang et al. 2019; methods.md 6.4 and 6.6 (decoupled from the gradient, for optimizers other than SGD).
    """

    @torch.no_grad()
    def update(self, groups: ChannelGroups) -> None:
        """Move the penalties by the running ranks; a filter at the limit is removed."""
        count = int(self.steps) // self.every
        groups.rank.copy_(((count - 1) * groups.rank + groups.ranks(groups.scores())) / count)
        change = ranking_function(groups.to_prune, self.amplitude, groups.ranks(groups.rank))
        groups.value.copy_((groups.value + change).clamp_min(0))
        groups.remove(groups.value >= LIMIT, groups.rank)

    @torch.no_grad()
    def press(self, groups: ChannelGroups) -> None:
        """Shrink the groups by their penalties; those of a finished layer are free."""
        if groups.to_prune:
            groups.scale_group(1 - (DECAY * groups.value).clamp_max(1))

    def final_scores(self, groups: ChannelGroups) -> Tensor:
        """The most penalized go."""
        return -groups.value


class GReg(Pruner):
    """Growing regularization: the L1-smallest filters are chosen at the start, and their penalty grows step by step.

    Source: Wang et al. 2021, GReg-1; methods.md 6.5. Differs: it ends with the steps of the phase.
    """

    def __init__(self, layers: Sequence[Layer], seed: int = 0) -> None:
        super().__init__(layers, seed)
        for groups in self.groups:
            chosen = groups.ranks(groups.scores()) < groups.to_prune
            groups.rank.copy_(chosen.float())

    def schedule(self, steps: int) -> tuple[float, int]:
        """Reach the limit after three quarters of the steps."""
        return GREG_LIMIT / (0.75 * steps), 1

    @torch.no_grad()
    def update(self, groups: ChannelGroups) -> None:
        """Let the penalty of the chosen filters grow."""
        groups.value.copy_(((groups.value + self.amplitude) * groups.rank).clamp_max(GREG_LIMIT))

    @torch.no_grad()
    def press(self, groups: ChannelGroups) -> None:
        """Shrink the chosen groups."""
        groups.scale_group(1 - (DECAY * groups.value).clamp_max(1))

    def final_scores(self, groups: ChannelGroups) -> Tensor:
        """The chosen filters go."""
        return -groups.rank


RULES: dict[str, type[Pruner]] = {"spp": SPP, "increg": IncReg, "greg": GReg}
