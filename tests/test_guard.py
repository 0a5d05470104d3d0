"""Whatever a program has set in torch, its pictures are the same."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch

import styleplugin
from styleplugin import kernels
from styleplugin.errors import ResourceError
from styleplugin.guard import guarded, guarded_steps

MODELS = [entry.name for entry in styleplugin.list_models()]


def picture(height: int, width: int, seed: int) -> torch.Tensor:
    noise = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic").clamp(0, 1)


CONTENT, STYLE = picture(48, 64, 0), picture(64, 48, 1)
MASK = (CONTENT[:, :1] > 0.4).float()


@contextmanager
def changed(change: Callable[[Any], Any], value: Any, before: Any) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(before)


def precision(of: Any, value: str) -> AbstractContextManager[None]:
    return changed(lambda value: setattr(of, "fp32_precision", value), value, "none")


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "dtype bfloat16": lambda: changed(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "dtype float64": lambda: changed(torch.set_default_dtype, torch.float64, torch.float32),
    "device meta": lambda: changed(torch.set_default_device, "meta", None),
    "device meta here": lambda: torch.device("meta"),
    "deterministic": lambda: changed(torch.use_deterministic_algorithms, True, False),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "one thread": lambda: changed(torch.set_num_threads, 1, torch.get_num_threads()),
    "two threads": lambda: changed(torch.set_num_threads, 2, torch.get_num_threads()),
    "matmul precision": lambda: changed(torch.set_float32_matmul_precision, "medium", "highest"),
    "flush denormal": lambda: changed(torch.set_flush_denormal, True, False),
}
BACKENDS_HAVE_PRECISIONS = hasattr(torch.backends, "fp32_precision")
"""Since torch 2.9."""
if BACKENDS_HAVE_PRECISIONS:
    STATES |= {
        "precision of convolutions": lambda: precision(torch.backends.mkldnn.conv, "bf16"),
        "precision of everything": lambda: precision(torch.backends, "tf32"),
    }


def optimized() -> torch.Tensor:
    run = styleplugin.Optimization(CONTENT, STYLE, mask=MASK, steps=2, scales=1, start="content", device="cpu")
    for _ in run:
        pass
    return run.result().tensor


def loaded(name: str) -> Callable[[], torch.Tensor]:
    stylizer = styleplugin.load(name, device="cpu")
    return lambda: stylizer(CONTENT, STYLE, mask=MASK, strength=0.8, keep_color="lab").tensor


@pytest.fixture(params=["compiled", "by torch"])
def computed_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by torch":
        monkeypatch.setattr(kernels, "target", lambda: None)
    return request.param


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.filterwarnings("ignore::styleplugin.errors.StylePluginWarning")
@pytest.mark.parametrize("name", MODELS)
def test_no_mode_of_torch_changes_a_picture(name: str, computed_by: str):
    run = loaded(name)
    expected = run()
    for state, enter in STATES.items():
        with enter():
            assert_same(run(), expected, f"run in {state}")
            assert_same(loaded(name)(), expected, f"load in {state}")


@pytest.mark.slow
@pytest.mark.weights
def test_no_mode_of_torch_changes_an_optimization():
    expected = optimized()
    for state, enter in STATES.items():
        with enter():
            assert_same(optimized(), expected, state)


def assert_same(result: torch.Tensor, expected: torch.Tensor, where: str) -> None:
    assert (result.dtype, result.device) == (expected.dtype, expected.device), where
    assert not result.is_inference() and not result.requires_grad, where
    # By torch sums are shared out to threads.
    assert float((result - expected).abs().max()) < 2e-4, where


def test_the_guard_leaves_the_callers_modes_as_they_were():
    for state, enter in STATES.items():
        with enter():
            modes = current_modes()
            with guarded():
                assert current_modes() == (False, False, False, torch.device("cpu")), state
            assert current_modes() == modes, state


def test_a_generators_caller_has_its_modes_back_between_the_steps():
    @guarded_steps
    def steps() -> Iterator[tuple[Any, ...]]:
        yield current_modes()
        yield current_modes()

    with torch.inference_mode(), torch.autocast("cpu"):
        modes = current_modes()
        for inside in steps():
            assert inside == (False, False, False, torch.device("cpu")) != current_modes() == modes


def current_modes() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
    )


def test_precision_is_full_until_the_last_thread_has_left_and_then_as_it_was():
    entered, leave = threading.Event(), threading.Event()

    def inside() -> str:
        with guarded():
            entered.set()
            assert leave.wait(60)
            return torch.get_float32_matmul_precision()

    with STATES["matmul precision"](), ThreadPoolExecutor(1) as pool:
        with guarded():
            other = pool.submit(inside)
            assert entered.wait(60)
            with guarded():
                pass
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "highest"
        leave.set()
        assert other.result() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"


def test_a_precision_that_is_asked_for_meanwhile_stays():
    with STATES["matmul precision"]():
        with guarded():
            torch.set_float32_matmul_precision("high")
        assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.skipif(not BACKENDS_HAVE_PRECISIONS, reason="torch before 2.9 has one precision for all backends")
@pytest.mark.parametrize("of", ["conv", "matmul"])
def test_the_precision_of_a_backend_is_given_back(of: str):
    place = getattr(torch.backends.mkldnn, of)
    with precision(place, "bf16"):
        with guarded():
            assert place.fp32_precision == "ieee"
        assert place.fp32_precision == "bf16"


@pytest.mark.skipif(not BACKENDS_HAVE_PRECISIONS, reason="torch before 2.9 has one precision for all backends")
def test_a_precision_that_comes_from_above_follows_it_again():
    with STATES["precision of everything"]():
        with guarded():
            assert torch.backends.mkldnn.conv.fp32_precision == "ieee"
        assert torch.backends.mkldnn.conv.fp32_precision == "tf32"
    assert torch.backends.mkldnn.conv.fp32_precision == "none"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"), "SP511"),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), "SP511"),
        (NotImplementedError("The operator 'aten::linalg_eigh' is not implemented for the MPS device."), "SP511"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "SP502"),
    ],
)
def test_M07_a_device_that_fails_is_our_error(error: Exception, code: str):
    with pytest.raises(ResourceError) as caught, guarded():
        raise error
    assert caught.value.code == code
    assert caught.value.__cause__ is error
    assert "\n" not in caught.value.message


def test_M07_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="size of tensor"), guarded():
        raise RuntimeError("The size of tensor a must match")
