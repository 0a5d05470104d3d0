"""The sample pictures."""

import torch

from comfy_nodes.logic.samples import sample, samples


def test_samples_are_pictures_and_clips(host):
    names = samples()
    assert "lake" in names
    picture = sample(host, "lake")
    clip = sample(host, "lake, 16 frames")
    assert picture.shape[0] == 1
    assert clip.shape[0] == 16
    assert torch.equal(clip[3, :, :8], picture[0, : clip.shape[1], 18:26])
