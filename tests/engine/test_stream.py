"""Tiles equal the whole picture: the promise everything else stands on."""

import copy
import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from styleplugin import kernels
from styleplugin.engine.compile import compile_layers
from styleplugin.engine.feature_map import LazyMap, StoredMap, extend, through
from styleplugin.engine.memory import Arena
from styleplugin.engine.plan import WHOLE, Plan
from styleplugin.engine.stream import Engine, Measure
from styleplugin.errors import Cancelled
from styleplugin.images.box import Box, Span, tiles
from styleplugin.methods.adain.method import AdaIN
from styleplugin.methods.kbstyle.method import KBStyle
from styleplugin.methods.photorealistic.method import Photorealistic
from styleplugin.methods.run import measure_style, run_stages
from styleplugin.methods.wct.method import WCT
from styleplugin.networks.pairs import PairModel
from styleplugin.networks.vgg import Encoder, student_spec
from styleplugin.options import StylizeOptions
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.wct import zca_map

CPU = torch.device("cpu")
OPTIONS = StylizeOptions()


def picture(height: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=generator, dtype=dtype)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return 0.8 * smooth + 0.2 * torch.rand(1, 3, height, width, generator=generator, dtype=dtype)


def engine_for(method, content, tile, *, keep_floats=12.0, order=None, on_step=None):
    keep = math.inf if tile == WHOLE else keep_floats
    total = sum(stage.macs_per_pixel for stage in method.stages) * content.shape[2] * content.shape[3]
    plan = Plan(CPU, tile, keep)
    return Engine(plan, picture_size=content.shape[2:], total_macs=total, on_step=on_step, shuffle=order)


def stylized(method, content, style, tile, *, weights=None, options=OPTIONS, **settings):
    engine = engine_for(method, content, tile, **settings)
    code = measure_style(method, StoredMap(style), None, engine)
    (output,), _ = run_stages(method, [StoredMap(content)], [weights], code, options, engine)
    return output.tensor


@pytest.fixture(scope="module")
def models(make_pair, make_photo_model, kb_model):
    return {
        "wct": PairModel("wct", [make_pair(level, seed=level) for level in (1, 2, 3, 4, 5)]),
        "adain": PairModel("adain", [make_pair(4, final_relu=False)]),
        "photo-vgg": make_photo_model("vgg"),
        "photo-mobilenet": make_photo_model("mobilenet"),
        "kbstyle": kb_model,
    }


METHODS = {
    "wct": WCT,
    "adain": AdaIN,
    "photo-vgg": Photorealistic,
    "photo-mobilenet": Photorealistic,
    "kbstyle": KBStyle,
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("tile", [64, 128, 256, 512])
def test_tiles_equal_the_whole_picture_in_float64(models, name, tile):
    method = METHODS[name](models[name], torch.empty(0, dtype=torch.float64))
    content, style = picture(208, 272), picture(96, 64, seed=1)
    whole = stylized(method, content, style, WHOLE)
    order = random.Random(tile)
    tiled = stylized(method, content, style, tile, order=order)
    assert_close(tiled, whole, rtol=0, atol=1e-8)
    recomputed = stylized(method, content, style, tile, keep_floats=0, order=order)
    assert_close(recomputed, whole, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_tiles_equal_the_whole_picture_in_float32(models, name):
    method = METHODS[name](models[name], torch.empty(0))
    content, style = picture(208, 272, dtype=torch.float32), picture(96, 64, seed=1, dtype=torch.float32)
    whole = stylized(method, content, style, WHOLE)
    for tile in (64, 128):
        assert_close(stylized(method, content, style, tile), whole, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_M04_nothing_shows_where_tiles_meet(models, name):
    """Steps between neighbors at the borders of tiles, against those of the picture without any."""
    method = METHODS[name](models[name], torch.empty(0))
    content, style = picture(208, 272, dtype=torch.float32), picture(96, 64, seed=1, dtype=torch.float32)
    whole, tiled = (stylized(method, content, style, tile) for tile in (WHOLE, 64))
    for dim in (2, 3):
        borders = torch.arange(16, content.shape[dim], 16) - 1
        there, expected = (output.diff(dim=dim).abs().index_select(dim, borders).mean() for output in (tiled, whole))
        assert float(there / expected) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", METHODS)
def test_compiled_code_and_torch_make_the_same_picture(models, name, monkeypatch):
    content, style = picture(208, 272, dtype=torch.float32), picture(96, 64, seed=1, dtype=torch.float32)
    compiled = stylized(METHODS[name](models[name], torch.empty(0)), content, style, 128)
    monkeypatch.setattr(kernels, "target", lambda: None)
    method = METHODS[name](models[name], torch.empty(0))
    assert_close(stylized(method, content, style, 128), compiled, rtol=0, atol=2e-3)
    assert_close(stylized(method, content, style, WHOLE), compiled, rtol=0, atol=2e-3)


@settings(max_examples=12, deadline=None)
@given(rows=st.integers(2, 9), cols=st.integers(2, 9), tile=st.sampled_from([64, 96, 128]), seed=st.integers(0, 99))
def test_I11_any_size_gives_the_whole_picture(models, rows, cols, tile, seed):
    method = METHODS["wct"](models["wct"], torch.empty(0, dtype=torch.float64))
    content, style = picture(16 * rows, 16 * cols, seed), picture(32, 48, seed=1)
    whole = stylized(method, content, style, WHOLE)
    assert_close(stylized(method, content, style, tile, order=random.Random(seed)), whole, rtol=0, atol=1e-8)


@pytest.mark.parametrize("backbone", ["vgg", "mobilenet"])
def test_the_photorealistic_stage_equals_the_modules_with_its_maps(models, backbone):
    model = copy.deepcopy(models[f"photo-{backbone}"]).double()
    content, style = picture(96, 80), picture(64, 48, seed=1)
    skips, styles = [content, *model.encoder.features(content)], model.encoder.features(style)
    x = skips[-1]
    for block in (3, 2, 1, 0):
        x = zca_map(Moments.of(x), Moments.of(styles[block])).apply(x)
        x = model.decoder.blocks[block](x, skips[block])
    method = Photorealistic(model, torch.empty(0, dtype=torch.float64))
    assert_close(stylized(method, content, style, 64), x, rtol=0, atol=1e-10)


def test_the_kbstyle_stage_equals_its_module(models):
    model = copy.deepcopy(models["kbstyle"]).double()
    content, style = picture(96, 80), picture(64, 48, seed=1)
    method = KBStyle(model, torch.empty(0, dtype=torch.float64))
    assert_close(stylized(method, content, style, 64), model(content, style), rtol=0, atol=1e-10)


def test_weights_are_measured_alike_in_tiles(models):
    method = METHODS["wct"](models["wct"], torch.empty(0, dtype=torch.float64))
    content, style = picture(96, 128), picture(64, 64, seed=1)
    weights = torch.linspace(0, 1, 128, dtype=torch.float64).expand(1, 1, 96, 128)
    whole = stylized(method, content, style, WHOLE, weights=weights)
    assert_close(stylized(method, content, style, 64, weights=weights), whole, rtol=0, atol=1e-8)
    assert not torch.allclose(whole, stylized(method, content, style, WHOLE))


@pytest.mark.parametrize("name", METHODS)
def test_frames_share_their_maps_alike_in_tiles(models, name):
    method = METHODS[name](models[name], torch.empty(0, dtype=torch.float64))
    frames, style = [picture(96, 128, seed) for seed in (0, 1)], picture(64, 64, seed=2)
    weights = [None, torch.linspace(0, 1, 128, dtype=torch.float64).expand(1, 1, 96, 128)]
    options = StylizeOptions(strength=0.6)

    def run(tile, chosen, **solved):
        engine = engine_for(method, style, tile)
        code = measure_style(method, StoredMap(style), None, engine)
        canvases = [StoredMap(frames[i]) for i in chosen]
        outputs, maps = run_stages(method, canvases, [weights[i] for i in chosen], code, options, engine, **solved)
        return [output.tensor for output in outputs], maps

    whole, maps = run(WHOLE, [0, 1])
    assert_close(run(64, [0, 1])[0], whole, rtol=0, atol=1e-8)
    (alone,), same = run(WHOLE, [1], maps=maps)
    assert_close(alone, whole[1], rtol=0, atol=1e-12)
    assert same == maps
    assert not torch.allclose(run(WHOLE, [1])[0][0], alone)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_operations_equal_the_modules(make_pair, level):
    pair = make_pair(level).double()
    content = picture(64, 96)
    like = torch.empty(0, dtype=torch.float64)
    features = through(StoredMap(content), compile_layers(pair.encoder.layers(), like))
    engine = Engine(Plan(CPU, 64, 12.0), picture_size=(64, 96))
    assert_close(engine.complete(features), pair.encoder(content))
    decoded = through(features, compile_layers(pair.decoder.layers(), like))
    assert_close(engine.complete(decoded), pair(content))


def test_a_region_of_odd_bounds_is_computed_exactly(make_pair):
    pair = make_pair(3).double()
    content, like = picture(32, 48), torch.empty(0, dtype=torch.float64)
    feature_map = through(StoredMap(content), [*compile_layers(pair.encoder.layers(), like)])
    picture_field = through(feature_map, compile_layers(pair.decoder.layers(), like))
    whole = pair(content)
    for box in (Box(Span(3, 8), Span(0, 1)), Box(Span(31, 32), Span(5, 48)), Box(Span(0, 32), Span(7, 10))):
        assert_close(picture_field.read(box), box.of(whole))


@given(height=st.integers(1, 300), width=st.integers(1, 300), side=st.integers(8, 128))
def test_tiles_cover_every_cell_once(height, width, side):
    seen = torch.zeros(1, 1, height, width)
    for box in tiles((height, width), side):
        assert max(box.size) <= side + 3
        box.of(seen).add_(1)
    assert bool((seen == 1).all())


@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_I10_extension_keeps_the_picture_and_reaches_the_multiple(height, width):
    source = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
    extended = extend(source)
    assert extended.shape[2] % 16 == extended.shape[3] % 16 == 0
    assert min(extended.shape[2:]) >= 32
    assert torch.equal(extended[:, :, :height, :width], source)
    assert extended.unique().numel() == height * width


def test_a_kept_field_lets_its_source_go(make_pair):
    pair = make_pair(3)
    feature_map = through(
        StoredMap(picture(64, 64, dtype=torch.float32)), compile_layers(pair.encoder.layers(), torch.empty(0))
    )
    assert isinstance(feature_map, LazyMap)
    Engine(Plan(CPU, 64, 12.0), picture_size=(64, 64)).measure(feature_map, Measure())
    assert feature_map.kept is not None
    assert feature_map.sources == ()
    assert feature_map.macs == 0


def test_a_map_on_the_way_is_kept_where_rims_or_a_second_reader_cost_more(monkeypatch):
    kept = []
    empty = Arena.empty
    monkeypatch.setattr(Arena, "empty", lambda arena, shape, like: kept.append(shape[1:]) or empty(arena, shape, like))
    operations = compile_layers(Encoder(student_spec(3)).layers(), torch.empty(0))
    half, quarter = (16, 128, 128), (32, 64, 64)  # after the first and the second pooling

    def shapes(tile, *, readers=1, keep_floats=12.0, last=False):
        kept.clear()
        feature_map = through(StoredMap(picture(256, 256, dtype=torch.float32)), operations)
        pooled = feature_map.sources[0].sources[0]
        pooled.readers = readers
        assert (pooled.channels, *pooled.size) == half
        engine = Engine(Plan(CPU, tile, keep_floats), picture_size=(256, 256))
        engine.measure(feature_map, Measure(), last=last)
        return kept

    features = (64, 64, 64)
    assert shapes(768) == [quarter, features]
    assert shapes(64) == [half, quarter, features]
    assert shapes(768, readers=2) == [half, quarter, features]
    assert shapes(768, last=True) == [quarter]
    assert shapes(WHOLE) == [features]
    assert shapes(384, keep_floats=1.0) == []


def test_M06_cancel_stops_at_the_next_tile_and_progress_grows(models):
    method = METHODS["adain"](models["adain"], torch.empty(0))
    content, style = picture(256, 256, dtype=torch.float32), picture(64, 64, dtype=torch.float32)
    seen = []
    stylized(method, content, style, 64, on_step=lambda done, total, stage: seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1, abs=0.05)
    calls = 0

    def stop(done: float, total: float, stage: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        stylized(method, content, style, 64, on_step=stop)
    assert calls == 3
