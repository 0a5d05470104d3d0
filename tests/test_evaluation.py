"""The evaluation's figures on pictures whose answers are known, its pairs, and that its networks trained nothing."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from benchmarks.evaluation import FIGURES, Evaluator, halo, pairs, photo_pairs, read
from benchmarks.evaluation.areas import box_mean, connected_parts, distance, gaussian
from benchmarks.evaluation.curves import Curve, content_at_equal_style, style_at_equal_content, trace
from benchmarks.evaluation.distances import Statistics, content_distance, shapes, style_distance
from benchmarks.evaluation.intervals import interval
from benchmarks.evaluation.networks import FILES, TEACHERS, read_networks
from benchmarks.evaluation.weave import SIDE, weave

ROOT = Path(__file__).parents[1]
needs_networks = pytest.mark.skipif(
    not all((TEACHERS / file).exists() for file in FILES), reason="needs the evaluation networks in ../shared"
)


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def shapes_of(features: Tensor) -> Tensor:
    return shapes(features, Statistics.of(features))


def gray(values: Tensor) -> Tensor:
    return values.expand(1, 3, *values.shape)


# Networks


def test_no_recipe_and_no_card_names_an_evaluation_network():
    names = [Path(file).stem.removesuffix("_imagenet") for file in FILES]
    assert names == ["mobilenet_v2_100", "squeezenet_1_0"]
    texts = {path.name: path.read_text() for path in (ROOT / "recipes").glob("**/*.toml")}
    for path in (ROOT / "weights").glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            texts[path.name] = json.dumps(file.metadata())
    assert len(texts) > 10
    for name, text in texts.items():
        assert not [network for network in ("mobilenet_v2", "squeezenet") if network in text.lower()], name


@needs_networks
def test_the_networks_see_at_five_depths():
    mobilenet, squeezenet = read_networks()
    image = noise(96, 128)
    assert [tuple(f.shape[1:]) for f in mobilenet(image)] == [
        (96, 48, 64),
        (144, 24, 32),
        (192, 12, 16),
        (576, 6, 8),
        (1280, 3, 4),
    ]
    assert [tuple(f.shape[1:]) for f in squeezenet(image)] == [
        (96, 45, 61),
        (128, 22, 30),
        (256, 22, 30),
        (512, 11, 15),
        (512, 5, 7),
    ]


# Distances of features


def test_e_style_is_relative_to_the_style_and_deviations_are_biased():
    style = torch.tensor([[[[0.0, 2.0]], [[1.0, 1.0]]]])  # means 1 and 1, deviations 1 and 0
    output = torch.tensor([[[[1.0, 3.0]], [[1.0, 1.0]]]])  # one mean is off by 1
    found, wanted = (Statistics.of(features) for features in (output, style))
    assert style_distance(found, wanted) == pytest.approx(1 / 3)
    assert style_distance(wanted, wanted) == 0


def test_e_content_sees_shapes_and_not_the_colors_of_the_channels():
    features = noise(8, 9)
    scale, shift = torch.tensor([0.5, 2.0, 3.0])[:, None, None], torch.tensor([1.0, 0.0, -2.0])[:, None, None]
    assert content_distance(shapes_of(scale * features + shift), shapes_of(features)) == pytest.approx(0, abs=0.01)
    other = noise(200, 200, seed=1)
    assert content_distance(shapes_of(other), shapes_of(noise(200, 200))) == pytest.approx(2**0.5, rel=0.01)
    closed = torch.zeros(1, 2, 4, 4)
    assert shapes_of(closed).isfinite().all()


@needs_networks
@pytest.mark.slow
def test_content_and_style_themselves_are_at_the_ends_of_the_scale():
    evaluator = Evaluator()
    content, style = noise(128, 96), gray((noise(64, 80, seed=1)[0, 0] > 0.5).float())
    found = evaluator(content, style, content)
    assert tuple(found) == FIGURES
    assert (found["e_content"], found["ssim"], found["edge_ssim"]) == pytest.approx((0, 1, 1))
    assert found["e_style"] > 0.05 and found["color_distance"] > 10
    own = evaluator(content, content, content)
    assert own["e_style"] == own["color_distance"] == own["patch_distance"] == 0
    # What is kept of content and style changes nothing.
    assert evaluator(content, style, content) == found == Evaluator(memory_mb=0)(content, style, content)
    curve = trace(evaluator, content, style, style[..., :1, :1].expand_as(content))
    assert curve.content[-1] == pytest.approx(0, abs=1e-6)
    assert curve.style[-1] == pytest.approx(found["e_style"])
    with pytest.raises(ValueError, match="same size"):
        evaluator.distances(content, style, style)


# Weave


def test_weave_is_one_for_isotropic_noise_and_high_for_cloth():
    content = noise(5 * SIDE, 4 * SIDE)
    isotropic = weave(content, gray(noise(5 * SIDE, 4 * SIDE, seed=1)[0, 0]))
    assert isotropic.weave == pytest.approx(1, abs=0.25)
    assert isotropic.flat_deviation == pytest.approx(12**-0.5, rel=0.05)
    down, across = torch.arange(5 * SIDE)[:, None], torch.arange(4 * SIDE)
    for turned, bound in ((False, 10), (True, 0)):
        u, v = (down + across, down - across) if turned else (down, across)
        cloth = 0.5 + 0.1 * torch.sin(u * 2 * torch.pi / 6) + 0.1 * torch.sin(v * 2 * torch.pi / 6)
        found = weave(content, gray(cloth + 0.01 * noise(*cloth.shape)[0, 0])).weave
        assert found > bound if not turned else found < 0.5


def test_weave_of_nothing_is_one_and_planes_do_not_count():
    content = noise(2 * SIDE, 2 * SIDE)
    down, across = torch.arange(2 * SIDE)[:, None] / 200, torch.arange(2 * SIDE) / 300
    found = weave(content, gray(down + across))
    assert found.weave == pytest.approx(1, abs=0.05)
    assert found.flat_deviation == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least 64 px"):
        weave(noise(63, 200), noise(63, 200))


def test_weave_looks_at_the_contents_flattest_tiles_only():
    flat, busy = torch.zeros(4 * SIDE, 8 * SIDE), noise(4 * SIDE, 8 * SIDE)[0, 0]
    flat[:, 4 * SIDE :] = busy[:, 4 * SIDE :]  # 16 flat tiles on the left, all others busy
    painted = flat.clone()
    painted[:, : 4 * SIDE] += torch.where(torch.arange(4 * SIDE) % 2 == 0, 0.2, -0.2)
    assert weave(gray(flat), gray(flat)).flat_deviation == pytest.approx(0, abs=1e-6)
    assert weave(gray(flat), gray(painted)).flat_deviation == pytest.approx(0.2, rel=0.01)


# Halo


def _step_with_ramp() -> Tensor:
    """Two flat halves with a gentle slope each, and an edge between them; (200, 160)."""
    across = torch.arange(160.0)
    line = torch.where(across < 80, 0.2 + across / 1000, 0.7 + across / 1000)
    return line.expand(200, 160)


def test_a_clean_change_of_light_has_no_halo():
    content = _step_with_ramp()
    assert halo(gray(content), gray(content)) == pytest.approx(0, abs=1e-4)
    assert halo(gray(content), gray(0.4 * content + 0.3)) == pytest.approx(0, abs=1e-4)


def test_a_glow_beside_the_edge_is_a_halo_of_its_height():
    content = _step_with_ramp()
    away = (torch.arange(160.0) - 79.5).abs()
    glows = [halo(gray(content), gray(content + height * torch.exp(-away / 8))) for height in (0.02, 0.04)]
    assert 0.5 < glows[0] < 255 * 0.02
    assert glows[1] == pytest.approx(2 * glows[0], rel=1e-3)


def test_halo_is_unknown_without_flat_parts_beside_edges():
    assert math.isnan(halo(noise(64, 64), noise(64, 64)))
    assert math.isnan(halo(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)))


def test_areas_are_measured_as_by_hand():
    marked = torch.zeros(9, 9, dtype=torch.bool).numpy()
    marked[0, 0] = True
    away = distance(marked, 6)
    assert (away[0, 0], away[3, 4], away[0, 5]) == (0, 5, 5)
    assert math.isinf(away[0, 6]) and math.isinf(distance(~marked & False, 6)[0, 0])
    constant = torch.full((9, 9), 0.3).double().numpy()
    assert gaussian(constant, 1.5) == pytest.approx(constant)
    assert box_mean(constant, 7) == pytest.approx(constant)
    rows = ["##..#", ".#.##", "...#.", "##...", ".####"]
    mask = torch.tensor([[c == "#" for c in row] for row in rows]).numpy()
    assert sorted(len(part) for part in connected_parts(mask)) == [3, 4, 6]
    assert connected_parts(mask & False) == []


# Pairs, intervals, curves


def test_pairs_are_made_by_formula():
    selection, reporting = pairs("selection"), pairs("reporting")
    assert [pair.index for pair in selection] == list(range(0, 60, 2))
    assert [pair.index for pair in reporting] == list(range(1, 60, 2))
    assert (reporting[4].content.parts[-2:], reporting[4].style.parts[-2:]) == (
        ("photos", "09.jpg"),
        ("paintings", "06.jpg"),
    )
    photo = photo_pairs("selection")[4]
    assert (photo.index, photo.content.name, photo.style.parts[-2:]) == (8, "08.jpg", ("photos", "00.jpg"))
    assert len({pair.style for pair in [*selection, *reporting]}) == 60
    with pytest.raises(ValueError, match="reporting"):
        pairs("all")  # type: ignore[arg-type]


@pytest.mark.skipif(not pairs("selection")[0].content.exists(), reason="needs the validation pictures in ../shared")
def test_pictures_are_read_at_their_own_size():
    assert min(read(pairs("selection")[0].content).shape[2:]) == 384


def test_the_interval_holds_the_mean_and_narrows_with_more_pairs():
    few, many = (torch.randn(count, generator=torch.Generator().manual_seed(1)).add(2).tolist() for count in (10, 1000))
    found = [interval(values) for values in (few, many)]
    assert all(one.low < one.mean < one.high and one.excludes_zero for one in found)
    assert found[1].half_width == pytest.approx(2 * 1000**-0.5, rel=0.1)
    assert found[0].half_width > 4 * found[1].half_width
    assert interval([1.0, math.nan, 1.0]).mean == 1
    assert math.isnan(interval([math.nan]).mean)


def test_the_stronger_system_is_weakened_to_the_common_level():
    strong = Curve(style=[0.1, 0.2, 0.3], content=[1.2, 1.0, 0.0])
    weak = Curve(style=[0.15, 0.25, 0.3], content=[1.0, 0.6, 0.0])
    # At e_style 0.15 the strong one is halfway between 1.2 and 1.0.
    assert content_at_equal_style(strong, weak) == pytest.approx(0.1)
    assert content_at_equal_style(weak, strong) == pytest.approx(-0.1)
    # At e_content 1.0 the strong one has 0.2.
    assert style_at_equal_content(strong, weak) == pytest.approx(0.05)
    assert content_at_equal_style(strong, strong) == style_at_equal_content(strong, strong) == 0
    # A picture that is farther from the style than its content asks for a level that no blend has.
    worse = Curve(style=[0.4, 0.35, 0.3], content=[0.5, 0.2, 0.0])
    assert content_at_equal_style(strong, worse) == pytest.approx(-0.5)
