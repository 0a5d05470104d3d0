"""For which processors there is compiled code; for the others torch does the work."""

import sys
from types import SimpleNamespace

import pytest
import torch

from styleplugin import kernels


class Features(dict):
    def flatten(self) -> str:
        return ",".join(f"+{name}" for name in self)


def compiler(*features: str, **more: object) -> SimpleNamespace:
    return SimpleNamespace(
        get_host_cpu_features=lambda: Features.fromkeys(features, True), get_host_cpu_name=lambda: "name", **more
    )


@pytest.fixture
def found(monkeypatch):
    """Return the target that is found with a compiler in place of llvmlite."""

    def find(llvm: object) -> kernels.Target | None:
        monkeypatch.setitem(sys.modules, "llvmlite", SimpleNamespace(binding=llvm))
        monkeypatch.setitem(sys.modules, "llvmlite.binding", llvm)
        return kernels.target.__wrapped__()

    return find


def test_there_is_none_without_the_compiler_or_with_an_old_one(found):
    assert found(None) is None
    assert found(compiler("avx2", "fma")) is None


def test_there_is_none_where_torch_has_other_threads(found, monkeypatch):
    monkeypatch.setattr(kernels, "openmp", lambda: None)
    assert found(compiler("avx2", "fma", create_pass_builder=None)) is None


def test_the_widest_vectors_are_taken(found, monkeypatch):
    monkeypatch.setattr(kernels, "openmp", lambda: object())
    assert found(compiler("sse4.2", create_pass_builder=None)) is None
    narrow = found(compiler("avx2", "fma", create_pass_builder=None))
    wide = found(compiler("avx2", "fma", "avx512f", create_pass_builder=None))
    assert narrow is not None and wide is not None
    assert (narrow.lanes, wide.lanes) == (8, 16)
    assert "+avx512f" in wide.features


def test_memory_to_work_in_is_kept_and_grows():
    first = kernels.scratch(100)
    assert kernels.scratch(50).data_ptr() == first.data_ptr()
    assert kernels.scratch(first.numel() + 1).numel() > first.numel()
    assert first.dtype == torch.float32
