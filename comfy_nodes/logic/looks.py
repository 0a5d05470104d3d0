"""Looks: color tables fitted to a stylization, and applied."""

from __future__ import annotations

import torch
from torch import Tensor

import styleplugin
from styleplugin import LUT, errors

from .batches import colored, handed_over, pictures_of
from .interface import LOOK_SUFFIX, Host, on_step, say

# Pixels that get the colors of a look at once: until then Cancel is not heard.
_PIXELS = 1 << 20


def export_look(host: Host, content: Tensor, stylized: Tensor, size: int, prefix: str) -> tuple[LUT, Tensor, str]:
    """Fit a color table to a stylization and write it into the output folder.

    Returns:
        The table; where it differs from the stylization, (B, H, W, 3), white from a difference of 10 on; its report.
    """
    if content.shape[:3] != stylized.shape[:3]:
        raise errors.UsageError(
            "SP116",
            f"The content is {_shape(content)} and its stylization {_shape(stylized)}; both must have one size.",
            "Connect the stylization of this very picture.",
        )
    # The table of a clip is fitted to all frames, one below the other.
    before, after = (torch.cat(list(pictures_of(x, "picture")), 2) for x in (content, stylized))
    path = host.save_path(prefix, LOOK_SUFFIX)
    look = styleplugin.fit_look(before, after, size=size, title=path.stem, on_step=on_step(host, bar=host.progress()))
    look.save(path)
    differences = look.error_map.reshape(len(content), *content.shape[1:3], 1).expand(-1, -1, -1, 3)
    host.say(f"Saved {path.name}: {look.report}")
    return look.lut, handed_over(host, differences), str(look.report)


def load_look(host: Host, name: str) -> LUT:
    """Read a color table."""
    look = styleplugin.read_lut(host.path(name))
    say(host, look.warnings)
    return look


def apply_look(host: Host, image: Tensor, look: LUT) -> Tensor:
    """Map the colors of all pictures of a batch; alpha comes back as it is."""
    pictures = pictures_of(image, "picture")
    output = colored(image).to(host.output_device(), host.output_dtype(), copy=True)
    height, width = output.shape[1:3]
    step, rows = on_step(host, bar=host.progress()), max(1, _PIXELS // width)
    for i, picture in enumerate(pictures):
        colors = styleplugin.to_picture(picture[:, :3])
        say(host, colors.warnings)
        for top in range(0, height, rows):
            band = look.apply(colors.rgb[:, :, top : top + rows])
            output[i, top : top + rows, :, :3] = band[0].movedim(0, -1)
            step(i * height + top + band.shape[2], len(pictures) * height, "look")
    return output


def _shape(batch: Tensor) -> str:
    return f"{batch.shape[0]} x ({batch.shape[2]} x {batch.shape[1]})"
