"""The number of threads changes the time that a picture takes, and with compiled code nothing else."""

from collections.abc import Iterator

import pytest
import torch

import styleplugin
from styleplugin import kernels
from styleplugin.export import lut_fit
from styleplugin.images.sums import total
from styleplugin.kernels.mkl import one_thread
from styleplugin.transforms.eigen import eigh
from styleplugin.transforms.moments import Moments

MODELS = [entry.name for entry in styleplugin.list_models()]
THREADS = (1, 2, 3)


def picture(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 10, width // 10, generator=generator)
    shapes = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return (0.8 * shapes + 0.2 * torch.rand(1, 3, height, width, generator=generator)).clamp(0, 1)


@pytest.fixture(autouse=True)
def _keep_number() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.filterwarnings("ignore::styleplugin.errors.StylePluginWarning")
@pytest.mark.parametrize(
    ("name", "height", "width"), [*((name, 150, 200) for name in MODELS), ("cd-wct.x16", 240, 320)]
)
def test_every_number_of_threads_gives_the_same_bits(name: str, height: int, width: int):
    if kernels.target() is None:
        pytest.skip("code is not compiled here")
    stylizer = styleplugin.load(name, device="cpu")
    content, style = picture(height, width, 0), picture(131, 177, 1)
    mask = content[:, :1].clone()
    mask[:, :, : height // 2] = 1

    def pictures() -> list[torch.Tensor]:
        plain = stylizer(content, style, strength=0.9)
        masked = stylizer(content, style, mask=mask, keep_color="luminance")
        return [plain.tensor, masked.tensor]

    results = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        results.append(pictures())
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("channels", [24, 64, 128])
def test_decompositions_and_products_of_one_block_round_alike_in_all_threads(channels: int):
    x = torch.randn(1, channels, 8, 14, generator=torch.Generator().manual_seed(channels))
    weights = torch.rand(1, 1, 8, 14, generator=torch.Generator().manual_seed(0))
    results = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        scatter = Moments.of(x, weights).scatter
        results.append((scatter, *eigh(scatter)))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_every_number_of_threads_fits_the_same_look(monkeypatch: pytest.MonkeyPatch):
    """With more nodes and more pixels than torch adds up in one thread."""
    monkeypatch.setattr(lut_fit, "MAX_STEPS", 2)
    content, stylized = picture(211, 313, 0), picture(211, 313, 1)
    weights = torch.rand(content[:, :1].shape, generator=torch.Generator().manual_seed(0))
    looks = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        fitted = lut_fit.fit_lut(content, stylized, 33, weights=weights)
        looks.append((fitted.table, total(weights), total(content)))
    for look in looks[1:]:
        assert all(torch.equal(a, b) for a, b in zip(look, looks[0], strict=True))


def test_one_thread_is_the_callers_own_affair():
    torch.set_num_threads(2)
    matrix = torch.rand(128, 128, dtype=torch.float64)
    matrix = matrix + matrix.T
    before = torch.linalg.eigh(matrix)
    with one_thread():
        assert torch.get_num_threads() == 2
    after = torch.linalg.eigh(matrix)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
