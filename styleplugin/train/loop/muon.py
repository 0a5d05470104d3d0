"""Muon: momentum whose spectrum is flattened, for convolutions; Adam for the rest.

The reconstruction of pictures is badly conditioned: a few directions of the features carry nearly all of their
variance, and Adam spends most of a short training on these. Orthogonalizing the update moves all directions alike.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers"; Newton-Schulz coefficients from there. Differs: a
step is relative to the norm of the weights, so that one learning rate fits layers of all scales (the first convolution
sees values up to 150); a step with a gradient that is not finite is left out on the device, without waiting for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.9
ADAM_BETAS = (0.9, 0.99)
ADAM_SHARE = 0.1
"""Learning rate of biases, relative to that of convolutions."""

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_TINY = 1e-12


class Muon(torch.optim.Optimizer):
    """Muon for weights of four dimensions, Adam for the others.

    Args:
        parameters: What is trained.
        lr: Length of a step relative to the norm of a convolution's weights.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, skip: Tensor) -> None:  # type: ignore[override]
        """Move the parameters by their gradients.

        Args:
            skip: A boolean scalar on the device; where it is true nothing changes.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    update = self._orthogonal if parameter.dim() == 4 else self._adam
                    new = update(parameter, parameter.grad, state or _fresh(parameter, state), group["lr"])
                    for old, value in new:
                        old.copy_(torch.where(skip, old, value))

    @staticmethod
    def _orthogonal(
        weight: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float
    ) -> list[tuple[Tensor, Tensor]]:
        momentum = state["exp_avg"].lerp(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM)
        direction = orthogonalize(ahead.flatten(1)).view_as(weight)
        length = lr * weight.norm() / direction.norm().clamp_min(_TINY)
        return [(state["exp_avg"], momentum), (weight, weight - length * direction)]

    @staticmethod
    def _adam(weight: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> list[tuple[Tensor, Tensor]]:
        first, second = ADAM_BETAS
        step = state["step"] + 1
        mean = state["exp_avg"].lerp(gradient, 1 - first)
        square = state["exp_avg_sq"].lerp(gradient.square(), 1 - second)
        direction = (mean / (1 - first**step)) / ((square / (1 - second**step)).sqrt() + _TINY)
        return [
            (state["step"], step),
            (state["exp_avg"], mean),
            (state["exp_avg_sq"], square),
            (weight, weight - ADAM_SHARE * lr * direction),
        ]


def _fresh(parameter: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    state["exp_avg"] = torch.zeros_like(parameter)
    if parameter.dim() != 4:
        state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] = torch.zeros((), device=parameter.device, dtype=torch.float32)
    return state


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return the nearest matrix with singular values near 1, of (R, C), by five Newton-Schulz iterations.

    The coefficients trade exactness for speed: singular values end between about 0.7 and 1.2.
    """
    a, b, c = _NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp_min(_TINY)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
