import torch

from styleplugin.train.loop.backend import backend_settings


def test_the_choice_of_kernels_is_given_back():
    before = torch.backends.cudnn.benchmark
    for device in ("cpu", "cuda"):
        with backend_settings(torch.device(device), keep_memory=False):
            assert torch.backends.cudnn.benchmark is (device == "cuda")
        assert torch.backends.cudnn.benchmark is before
