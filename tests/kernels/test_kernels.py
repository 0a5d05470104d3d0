"""Compiled code computes what torch computes, for every width of vectors, any channels and any sides."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from styleplugin import kernels
from styleplugin.kernels import last_layer, scatter, winograd
from styleplugin.kernels.last_layer import LastLayerKernel
from styleplugin.kernels.winograd import WinogradKernel
from styleplugin.transforms.moments import Moments

pytestmark = pytest.mark.skipif(kernels.target() is None, reason="needs llvmlite on an x86-64 Linux with AVX2")
CHANNELS = [(16, 16), (19, 40), (33, 17), (64, 128)]


@pytest.fixture(params=["this CPU", "AVX2"], autouse=True)
def cpu(request, monkeypatch):
    """The vectors of this CPU, and narrower ones."""
    made = (winograd._kernel, last_layer._kernel, scatter._kernel)
    target = kernels.known_target()
    if request.param == "AVX2":
        features = ",".join(f for f in target.features.split(",") if "avx512" not in f) + ",-avx512f"
        narrow = dataclasses.replace(target, name="haswell", features=features, lanes=8, rows=6)
        monkeypatch.setattr(kernels, "target", lambda: narrow)
    for kernel in made:
        kernel.cache_clear()
    yield request.param
    for kernel in made:
        kernel.cache_clear()


def layer(inputs: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(inputs * outputs)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator, dtype=torch.float64) / (9 * inputs) ** 0.5
    return weight, torch.randn(outputs, generator=generator, dtype=torch.float64)


def features(channels: int, height: int, width: int, batch: int = 1) -> torch.Tensor:
    x = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(channels))
    return x.contiguous(memory_format=torch.channels_last)


def convolved(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, relu: bool) -> torch.Tensor:
    y = F.conv2d(x.double(), weight, bias)
    return (y.relu() if relu else y).float()


@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
@pytest.mark.parametrize("relu", [False, True])
def test_winograd_is_the_convolution(inputs, outputs, relu):
    weight, bias = layer(inputs, outputs)
    x = features(inputs, 4 * 5 + 2, 4 * 7 + 2, batch=2)
    kernel = WinogradKernel(weight, bias, relu=relu)
    y, expected = kernel(x), convolved(x, weight, bias, relu)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_close(y, expected, rtol=0, atol=5e-5)
    assert_close(kernel.pooled()(x), F.max_pool2d(expected, 2), rtol=0, atol=5e-5)


@pytest.mark.parametrize(("inputs", "outputs"), CHANNELS)
def test_winograd_doubled_is_the_convolution_of_the_upsampled_map(inputs, outputs):
    weight, bias = layer(inputs, outputs)
    x = features(inputs, 2 * 5 + 2, 2 * 3 + 2)
    upsampled = F.interpolate(x, scale_factor=2, mode="nearest")[:, :, 1:-1, 1:-1]
    y = WinogradKernel(weight, bias, relu=True, doubled=True)(x)
    assert_close(y, convolved(upsampled, weight, bias, True), rtol=0, atol=5e-5)


def test_a_part_of_a_map_is_read_where_it_lies():
    weight, bias = layer(20, 24)
    whole = features(20, 40, 50)
    part = whole[:, :, 5:23, 7:33]
    kernel = WinogradKernel(weight, bias, relu=True)
    assert torch.equal(kernel(part), kernel(part.contiguous(memory_format=torch.channels_last)))
    assert torch.equal(kernel(part), kernel(part.contiguous()))
    to_picture = LastLayerKernel(*layer(20, 3), relu=False)
    assert torch.equal(to_picture(part), to_picture(part.contiguous(memory_format=torch.channels_last)))


def test_the_number_of_threads_changes_nothing():
    kernel, x = WinogradKernel(*layer(32, 32), relu=True), features(32, 42, 30)
    several, threads = kernel(x), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(kernel(x), several)
    finally:
        torch.set_num_threads(threads)


def test_what_is_not_a_number_stays_one():
    x = features(16, 6, 6)
    x[0, 0, 3, 3] = float("nan")
    for kernel in (WinogradKernel(*layer(16, 16), relu=True), LastLayerKernel(*layer(16, 3), relu=True)):
        assert bool(kernel(x).isnan().any())


@pytest.mark.parametrize("inputs", [6, 13, 16, 21, 24, 64])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 130)])
@pytest.mark.parametrize("relu", [False, True])
def test_the_last_layer_is_the_convolution(inputs, size, relu):
    weight, bias = layer(inputs, 3)
    x = features(inputs, size[0] + 2, size[1] + 2, batch=2)
    assert_close(LastLayerKernel(weight, bias, relu=relu)(x), convolved(x, weight, bias, relu), rtol=0, atol=5e-6)


@pytest.mark.parametrize("vectors", [0.5, 0.75, 1, 1.25, 1.5, 4])
def test_scatters_are_those_of_float64(vectors):
    channels = int(vectors * kernels.known_target().lanes)
    x = features(channels, 48, 33, batch=2) + 3
    assert scatter.fits(x)
    measured, expected = Moments.of(x), Moments.of(x.double())
    assert measured.count == expected.count
    assert_close(measured.mean, expected.mean, rtol=2e-6, atol=0)
    assert_close(measured.scatter, expected.scatter, rtol=0, atol=1e-6 * float(expected.scatter.abs().max()))


def test_only_float32_maps_of_the_cpu_with_enough_channels_are_compiled(cpu):
    lanes = kernels.known_target().lanes
    assert kernels.fits(torch.empty(0), lanes)
    assert not kernels.fits(torch.empty(0), lanes - 1)
    assert not kernels.fits(torch.empty(0, dtype=torch.float64), 64)
    assert not kernels.fits(torch.empty(0, device="meta"), 64)
