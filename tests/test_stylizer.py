import json
import warnings

import numpy as np
import pytest
import torch
from fakes.stylizers import CONTENT, LEVELS, OTHER, STYLE, bytes_of, picture, stylizer_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import styleplugin
from styleplugin.api import choose_model
from styleplugin.engine.feature_map import extend
from styleplugin.engine.stream import Engine
from styleplugin.errors import (
    Cancelled,
    ImageTooLargeError,
    InputImageError,
    ResourceError,
    StylePluginWarning,
    TensorInputError,
    UsageError,
    WeightsError,
)
from styleplugin.loading.build import describe
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions, StyleWeight
from styleplugin.style import Style, mix_styles
from styleplugin.stylizer import Stylizer


def test_the_output_has_the_size_of_the_content_and_differs_from_it(stylizer):
    result = stylizer(CONTENT, STYLE, **LEVELS)
    assert bytes_of(result).shape == CONTENT.shape
    assert np.abs(bytes_of(result).astype(int) - CONTENT).mean() > 2
    assert result.report.content_size == (70, 90)
    assert json.loads(result.report.to_json())["settings"]["strength"] == 1.0


@pytest.mark.parametrize("kind", ["path", "pil", "array", "tensor", "picture"])
def test_contents_and_styles_may_be_paths_images_arrays_or_tensors(wct, kind, tmp_path):
    def convert(array: np.ndarray, name: str):
        if kind == "path":
            Image.fromarray(array).save(tmp_path / f"{name}.png")
            return tmp_path / f"{name}.png"
        if kind == "pil":
            return Image.fromarray(array)
        if kind == "tensor":
            return torch.from_numpy(array).permute(2, 0, 1)
        return array

    result = wct(convert(CONTENT, "content"), convert(STYLE, "style"), **LEVELS)
    assert np.array_equal(bytes_of(result), bytes_of(wct(CONTENT, STYLE, **LEVELS)))


def test_T16_strength_0_returns_the_content_exactly_and_a_little_strength_stays_near(stylizer):
    distances = []
    for strength in (0, 0.05, 0.2, 1):
        out = bytes_of(stylizer(CONTENT, STYLE, strength=strength, **LEVELS)).astype(float)
        distances.append(np.sqrt(((out - CONTENT) ** 2).mean()))
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]
    assert distances[1] < distances[-1] / 3


def test_I23_N08_the_content_as_its_own_style_gives_the_plain_reconstruction(stylizer):
    level = stylizer.model.levels[0]
    result = stylizer(CONTENT, CONTENT, levels=(level,), palette="off", grain=0)
    with torch.no_grad():
        x = torch.from_numpy(CONTENT).permute(2, 0, 1)[None] / 255
        x = stylizer.model.pair(level)(extend(x))
    expected = x[0, :, :70, :90].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(bytes_of(result) - expected).max() <= 2


@pytest.mark.parametrize("tile", ["64", "128", "auto"])
def test_M01_tiles_give_the_file_of_the_whole_picture(make_pair, tile):
    model = PairModel("wct", [make_pair(level, seed=level) for level in (1, 2, 3)])
    content = picture(203, 331)
    whole = bytes_of(stylizer_of(model, tile="whole")(content, STYLE, **LEVELS))
    tiled = bytes_of(stylizer_of(model, tile=tile)(content, STYLE, **LEVELS))
    # Random networks amplify rounding far more than trained ones; `test_weights.py` asks for 0.9999 of these.
    assert (whole == tiled).mean() >= 0.999


def test_N10_a_mix_with_one_weight_at_1_equals_that_style_alone(stylizer):
    alone = bytes_of(stylizer(CONTENT, STYLE, **LEVELS))
    for mix in ([(STYLE, 1), (OTHER, 0)], [StyleWeight(style=OTHER, weight=0), StyleWeight(style=STYLE, weight=3)]):
        assert np.array_equal(bytes_of(stylizer(CONTENT, mix, **LEVELS)), alone)
    both = bytes_of(stylizer(CONTENT, [STYLE, OTHER], **LEVELS)).astype(int)
    swapped = bytes_of(stylizer(CONTENT, [OTHER, STYLE], **LEVELS)).astype(int)
    assert np.abs(both - swapped).max() <= 1
    assert np.abs(both - alone).mean() > 1
    prepared = [stylizer.prepare(s) for s in (STYLE, OTHER)]
    mixed = bytes_of(stylizer(CONTENT, mix_styles(prepared, [1, 1]), **LEVELS))
    assert np.array_equal(mixed, both)


@pytest.mark.parametrize("name", ["a.style.safetensors", "A.STYLE.SAFETENSORS"])
def test_a_style_file_gives_the_picture_of_its_source(stylizer, tmp_path, name):
    style = stylizer.prepare(STYLE)
    path = tmp_path / name
    style.save(path)
    expected = bytes_of(stylizer(CONTENT, STYLE, **LEVELS)).astype(int)
    for again in (path, Style.load(path), style):
        assert np.abs(bytes_of(stylizer(CONTENT, again, **LEVELS)) - expected).max() <= 1
    assert choose_model(None, path) == stylizer.info.name
    with pytest.raises(styleplugin.errors.OutputError):
        style.save(path)
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        style.save(tmp_path / "a.png")


def test_a_style_of_another_model_or_a_weights_file_is_refused(wct, adain, tiny_weights):
    with pytest.raises(UsageError, match="was prepared with the model tiny-adain, not with tiny"):
        wct(CONTENT, adain.prepare(STYLE), **LEVELS)
    with pytest.raises(WeightsError, match="is not a style file"):
        Style.load(tiny_weights)
    with pytest.raises(UsageError, match="was prepared with"):
        mix_styles([wct.prepare(STYLE), adain.prepare(STYLE)], [1, 1])


def test_N01_a_constant_style_warns_and_keeps_the_content_visible(stylizer):
    with pytest.warns(StylePluginWarning, match="degenerate_style"):
        out = bytes_of(stylizer(CONTENT, np.full((40, 40, 3), 90, dtype=np.uint8), **LEVELS))
    assert out.std() > 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32])
def test_N07_there_is_no_run_in_half_precision(tiny_model, dtype):
    info = describe(tiny_model, name="tiny", license="MIT", sha256="0" * 64)
    with pytest.raises(UsageError, match=r"must be one of torch\.float32, torch\.float64") as caught:
        Stylizer(tiny_model, info, EngineOptions(device="cpu"), dtype=dtype)
    assert caught.value.code == "SP102"


def test_N07_single_precision_is_within_a_step_of_double(tiny_model):
    info = describe(tiny_model, name="tiny", license="MIT", sha256="0" * 64)
    single, double = (
        bytes_of(Stylizer(tiny_model, info, EngineOptions(device="cpu"), dtype=dtype)(CONTENT, STYLE, **LEVELS))
        for dtype in (torch.float32, torch.float64)
    )
    assert np.abs(single.astype(int) - double).max() <= 1


def test_M07_after_a_device_failed_the_next_picture_is_right(tiny_model, monkeypatch):
    stylizer = stylizer_of(tiny_model)
    expected = bytes_of(stylizer(CONTENT, STYLE, **LEVELS))

    def lost(*_):
        raise RuntimeError("CUDA error: device lost")

    with monkeypatch.context() as patch:
        patch.setattr(stylizer._method, "solve", lost)
        with pytest.raises(ResourceError, match="device=cpu") as caught:
            stylizer(CONTENT, STYLE, **LEVELS)
    assert caught.value.code == "SP511"
    assert np.array_equal(bytes_of(stylizer(CONTENT, STYLE, **LEVELS)), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (3, 3)])
def test_N02_I10_tiny_styles_and_contents_give_finite_pictures(stylizer, shape):
    tiny = picture(8, 8)[: shape[0], : shape[1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StylePluginWarning)
        assert bytes_of(stylizer(CONTENT, tiny, **LEVELS)).shape == CONTENT.shape
    assert bytes_of(stylizer(tiny, STYLE, **LEVELS)).shape == tiny.shape


@pytest.mark.parametrize("size", [(32, 4000), (4000, 3)])
def test_I12_extreme_aspects_work(wct, size):
    content = np.tile(picture(*[min(side, 200) for side in size]), (size[0] // min(size[0], 200), 1, 1))[: size[0]]
    content = np.tile(content, (1, -(-size[1] // content.shape[1]), 1))[:, : size[1]]
    assert bytes_of(wct(content, STYLE, **LEVELS)).shape == (*size, 3)


@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 80), width=st.integers(1, 80))
def test_I11_any_size_comes_back_in_its_size(wct, height, width):
    assert bytes_of(wct(picture(height, width), STYLE, **LEVELS)).shape == (height, width, 3)


def test_N03_a_constant_content_gives_a_finite_picture(stylizer):
    flat = np.full((40, 50, 3), 120, dtype=np.uint8)
    with pytest.warns(StylePluginWarning, match="blank_content"):
        result = stylizer(flat, STYLE, **LEVELS)
    assert bytes_of(result).shape == flat.shape and "blank_content" in result.report.warnings[0]


def test_I15_16_bit_pictures_stay_16_bit_and_come_back_exactly_at_strength_0(wct, tmp_path):
    ramp = np.linspace(0, 65535, 70 * 90 * 3).astype(np.uint16).reshape(70, 90, 3)
    result = wct(ramp, STYLE, strength=0, **LEVELS)
    result.save(tmp_path / "deep.png")
    back = styleplugin.to_picture(tmp_path / "deep.png")
    assert back.bits == 16
    assert np.abs(back.rgb[0].permute(1, 2, 0).numpy() * 65535 - ramp).max() <= 1


def test_T01_values_that_are_not_finite_are_refused_by_count_and_place(stylizer):
    broken = torch.rand(3, 20, 20)
    broken[1, 2, 3] = float("nan")
    with pytest.raises(TensorInputError, match=r"1 NaN or infinite values, the first at index \(1, 2, 3\)"):
        stylizer(broken, STYLE, **LEVELS)
    with pytest.raises(TensorInputError):
        stylizer(CONTENT, broken, **LEVELS)


def test_T08_inputs_are_not_changed(wct):
    content, style, mask = CONTENT.copy(), STYLE.copy(), np.full(CONTENT.shape[:2], 0.4, dtype=np.float32)
    wct(content, style, mask=mask, strength=0.5, keep_color="lab", **LEVELS)
    assert np.array_equal(content, CONTENT)
    assert np.array_equal(style, STYLE)
    assert (mask == np.float32(0.4)).all()


def test_keeping_the_color_keeps_the_chroma_or_its_statistics(wct):
    plain, luminance, lab = (
        bytes_of(wct(CONTENT, STYLE, keep_color=keep, **LEVELS)).astype(float) for keep in ("off", "luminance", "lab")
    )

    def distance(image):
        return np.abs(image.mean((0, 1)) - CONTENT.mean((0, 1))).sum()

    assert distance(lab) < distance(plain) / 2
    content = CONTENT.astype(float)
    inside = (luminance > 0).all(-1) & (luminance < 255).all(-1)
    chroma = (luminance - content)[inside]
    assert np.abs(chroma - chroma.mean(-1, keepdims=True)).max() <= 1


def test_style_scale_changes_the_picture(wct):
    assert not np.array_equal(
        bytes_of(wct(CONTENT, STYLE, style_scale=0.5, **LEVELS)), bytes_of(wct(CONTENT, STYLE, **LEVELS))
    )
    assert wct.prepare(STYLE, style_scale=0.5).size == (25, 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 1.5}, "`strength` was 1.5; it must be a number from 0 to 1"),
        ({"strength": float("nan")}, "must be a number"),
        ({"strenght": 1}, "Did you mean strength"),
        ({"keep_color": "all"}, "must be one of off, luminance, lab"),
        ({"levels": (4,)}, "the model has the levels"),
        ({"levels": ()}, "the model has the levels"),
        ({"style_scale": 0}, "from 0.1 to 4"),
    ],
)
def test_T17_wrong_options_are_refused_in_one_sentence(wct, options, message):
    with pytest.raises(UsageError, match=message):
        wct(CONTENT, STYLE, **{**LEVELS, **options})


def test_impossible_mixes_are_refused(wct):
    for styles in ([], [(STYLE, 0), (OTHER, 0)], [(STYLE, -1), (OTHER, 2)], [(STYLE, float("nan"))]):
        with pytest.raises(UsageError):
            wct(CONTENT, styles, **LEVELS)


def test_I01_errors_of_files_come_through(wct, tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputImageError, match="empty"):
        wct(tmp_path / "empty.jpg", STYLE, **LEVELS)


def test_M02_out_of_memory_goes_on_with_smaller_tiles_and_says_so(wct, monkeypatch):
    expected = bytes_of(wct(CONTENT, STYLE, **LEVELS))
    style = wct.prepare(STYLE)
    failures = iter([True, True])
    original = Engine.run

    def failing(self, *args, **kwargs):
        if next(failures, False):
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Engine, "run", failing)
    with pytest.warns(StylePluginWarning):
        result = wct(CONTENT, style, **LEVELS)
    assert result.report.tile == 96
    assert result.report.warnings == [
        f"Out of memory with tiles of {before}; went on with {after}." for before, after in ((384, 192), (192, 96))
    ]
    assert (bytes_of(result) == expected).mean() > 0.999

    def always_failing(self, *args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(Engine, "run", always_failing)
    with pytest.warns(StylePluginWarning), pytest.raises(ResourceError, match="not even in the smallest tiles"):
        wct(CONTENT, style, **LEVELS)


def test_M06_cancel_stops_and_the_next_call_works(wct):
    def stop(done, total, stage):
        raise Cancelled

    with pytest.raises(Cancelled):
        wct(CONTENT, STYLE, on_step=stop, **LEVELS)
    assert bytes_of(wct(CONTENT, STYLE, **LEVELS)).shape == CONTENT.shape


def test_M09_an_error_in_the_progress_callback_comes_through(wct):
    with pytest.raises(ZeroDivisionError):
        wct(CONTENT, STYLE, on_step=lambda *a: 1 / 0, **LEVELS)


def test_same_inputs_give_the_same_bytes(stylizer):
    assert np.array_equal(bytes_of(stylizer(CONTENT, STYLE, **LEVELS)), bytes_of(stylizer(CONTENT, STYLE, **LEVELS)))


def test_keep_luminance_changes_colors_alone(wct):
    plain, kept = (bytes_of(wct(CONTENT, STYLE, keep_luminance=keep, **LEVELS)).astype(float) for keep in (False, True))
    content, weights = np.asarray(CONTENT).astype(float), np.array([0.299, 0.587, 0.114])
    inside = ((kept > 0) & (kept < 255)).all(-1)
    assert inside.mean() > 0.2
    assert np.abs((kept - content)[inside] @ weights).max() < 1.5
    assert np.abs(plain - kept).max() > 5


def test_smoothing_follows_the_content(wct):
    plain, smooth = (wct(CONTENT, STYLE, smooth=radius, **LEVELS).tensor for radius in (0, 4))
    assert not torch.equal(plain, smooth)
    assert smooth.diff(dim=2).abs().mean() < plain.diff(dim=2).abs().mean()


@pytest.mark.parametrize("backbone", ["vgg", "mobilenet"])
def test_photorealistic_models_run_like_the_others(make_photo_model, backbone, tmp_path):
    model = make_photo_model(backbone)
    stylizer = Stylizer(model, describe(model, name="photo", license="MIT", sha256="0" * 64))
    style = stylizer.prepare(STYLE)
    assert len(style.code) == 1
    assert [moments.channels for moments in style.code[0]] == [7, 6, 5, 4]
    style.save(tmp_path / "style.safetensors")
    again = stylizer(CONTENT, tmp_path / "style.safetensors")
    assert torch.equal(again.tensor, stylizer(CONTENT, style).tensor)
    assert np.array_equal(bytes_of(stylizer(CONTENT, STYLE, strength=0)), CONTENT)
    assert again.report.settings["method"] == "photorealistic"


@pytest.mark.weights
@pytest.mark.filterwarnings("ignore::styleplugin.errors.StylePluginWarning")
def test_N06_what_happens_deep_inside_stands_in_the_report(monkeypatch):
    solve, failures = torch.linalg.eigh, [torch.linalg.LinAlgError("failed to converge")]

    def failing(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if failures:
            raise failures.pop()
        return solve(matrix)

    stylizer = styleplugin.load("cd-wct.x16", device="cpu")
    picture = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch.linalg, "eigh", failing)
    result = stylizer(picture, picture.flip(3))
    assert any(note.startswith("eigen:") for note in result.report.warnings)
    assert result.tensor.isfinite().all()


def test_the_limit_of_pixels_is_an_option_of_the_engine(make_pair, tmp_path):
    Image.fromarray(CONTENT).save(tmp_path / "x.png")
    small = stylizer_of(PairModel("wct", [make_pair(1)]), max_megapixels=0.005)
    for arguments in ((tmp_path / "x.png", STYLE[:9, :9]), (CONTENT[:9, :9], tmp_path / "x.png")):
        with pytest.raises(ImageTooLargeError, match=r"0\.005 megapixels.*`max_megapixels`"):
            small(*arguments, levels=(1,))
