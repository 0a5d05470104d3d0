"""Looks on bare torch: exported, loaded, applied."""

import pytest
import torch

from comfy_nodes.logic.looks import apply_look, export_look, load_look
from styleplugin.errors import InputImageError, UsageError

from .conftest import pictures

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")


def test_looks_are_exported_with_their_errors_and_applied(host):
    content = pictures(2, 48, 64)
    stylized = (content * torch.tensor([0.8, 0.9, 1.0]) + 0.05).clamp(0, 1)
    look, errors, report = export_look(host, content, stylized, 17, "luts/mine")
    assert errors.shape == content.shape
    assert errors.max() < 0.1
    assert "above 3 in 0.0%" in report
    assert host.said == [f"Saved mine_00001_.cube: {report}"]
    for table in (look, load_look(host, "mine_00001_.cube")):
        output = apply_look(host, content, table)
        assert (output - stylized).abs().max() < 0.02
    rgba = torch.cat([content, torch.full((2, 48, 64, 1), 0.3)], 3)
    output = apply_look(host, rgba, look)
    assert torch.equal(output[..., 3:], rgba[..., 3:])
    assert torch.equal(output[..., :3], apply_look(host, content, look))
    assert apply_look(host, content[..., :1], look).shape == content.shape
    with pytest.raises(UsageError, match="both must have one size"):
        export_look(host, content, stylized[:1], 17, "luts/mine")
    host.said.clear()
    rows = "\n".join(f"{r} {g} {b}" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    (host.folder / "OLD.CUBE").write_text(f"LUT_3D_SIZE 2\nLUT_MOOD blue\n{rows}\n")
    assert load_look(host, "OLD.CUBE").size == 2
    assert host.said == ["OLD.CUBE has keywords that are unknown and were ignored: LUT_MOOD."]
    (host.folder / "bad.cube").write_text("LUT_3D_SIZE two\n")
    with pytest.raises(InputImageError, match="not a usable look"):
        load_look(host, "bad.cube")


def test_an_interrupted_export_leaves_no_file(host):
    content = pictures(1, 48, 64)
    host.stop_at = 1
    with pytest.raises(BaseException) as stopped:
        export_look(host, content, content**2, 17, "luts/mine")
    assert type(stopped.value).__name__ == "Interrupted"
    assert list(host.folder.iterdir()) == []
