"""Several pictures in one style: the statistics they share, their masks, order, progress and memory."""

import weakref

import numpy as np
import pytest
import torch

import styleplugin
from styleplugin.errors import Cancelled, MaskError, StylePluginWarning, UsageError
from styleplugin.loading.build import describe
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions
from styleplugin.stylizer import Stylizer
from styleplugin.transforms import metrics

STYLE = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(9))


def clip(count: int, height: int = 48, width: int = 64) -> list[torch.Tensor]:
    """Frames (1, 3, height, width) whose brightness and contrast change."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 6, 8, generator=rng)
    scene = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    noise = (0.05 * torch.randn(1, 3, height, width, generator=rng) for _ in range(count))
    return [((0.5 + 0.06 * i) * scene + 0.02 * i + n).clamp(0, 1) for i, n in enumerate(noise)]


@pytest.fixture(scope="module", params=["wct", "adain", "photo", "kbstyle"])
def stylizer(request, make_pair, make_photo_model, kb_model) -> Stylizer:
    model = {
        "wct": lambda: PairModel("wct", [make_pair(level, seed=level) for level in (1, 2, 3)]),
        "adain": lambda: PairModel("adain", [make_pair(4, final_relu=False)]),
        "photo": lambda: make_photo_model("vgg"),
        "kbstyle": lambda: kb_model,
    }[request.param]()
    info = describe(model, name="tiny", license="MIT", sha256="0" * 64)
    return Stylizer(model, info, EngineOptions(device="cpu"))


def options(stylizer: Stylizer) -> dict:
    return {"levels": (3, 2, 1), "grain": 0} if stylizer.info.method == "wct" else {}


def tensors(results) -> list[torch.Tensor]:
    return [result.tensor for result in results]


def test_each_frame_by_itself_is_a_picture_by_itself(stylizer):
    frames = clip(3)
    results = tensors(stylizer.frames(frames, STYLE, **options(stylizer)))
    for frame, result in zip(frames, results, strict=True):
        assert torch.equal(result, stylizer(frame, STYLE, **options(stylizer)).tensor)


@pytest.mark.parametrize("statistics", ["whole batch", "one frame"])
def test_shared_statistics_of_one_frame_are_its_own(stylizer, statistics):
    (frame,) = clip(1)
    (result,) = stylizer.frames([frame], STYLE, statistics=statistics, **options(stylizer))
    assert torch.equal(result.tensor, stylizer(frame, STYLE, **options(stylizer)).tensor)


def test_the_whole_batch_is_one_picture_as_far_as_statistics_go(stylizer):
    """Equal frames give what one of them gives, up to the unbiased covariance's divisor."""
    frame, other = clip(2)
    twice = tensors(stylizer.frames([frame, frame], STYLE, statistics="whole batch", **options(stylizer)))
    alone = stylizer(frame, STYLE, **options(stylizer)).tensor
    assert torch.equal(*twice)
    near = (twice[0] - alone).abs().mean()
    mixed = tensors(stylizer.frames([frame, other], STYLE, statistics="whole batch", **options(stylizer)))
    assert (mixed[0] - alone).abs().mean() > 3 * near


@pytest.mark.parametrize("frame", [0, 1, 3])
def test_one_frame_gives_its_maps_to_all_and_the_order_stays(stylizer, frame):
    frames = clip(4)
    results = tensors(stylizer.frames(frames, STYLE, statistics="one frame", frame=frame, **options(stylizer)))
    assert torch.equal(results[frame], stylizer(frames[frame], STYLE, **options(stylizer)).tensor)
    # The frames get brighter, and one map for all lets that be seen.
    means = [float(result.mean()) for result in results]
    assert len(set(means)) == 4
    same = tensors(stylizer.frames([frames[frame]] * 4, STYLE, statistics="one frame", **options(stylizer)))
    assert all(torch.equal(result, same[0]) for result in same)


def test_flicker_is_zero_for_a_still_and_does_not_depend_on_contrast():
    frames = clip(5)
    assert metrics.flicker([frames[0]] * 3) == 0
    assert metrics.flicker([frame * 0.5 for frame in frames]) == pytest.approx(metrics.flicker(frames))


def test_kept_colors_share_their_statistics_as_well(stylizer):
    frames = clip(3)
    given = options(stylizer) | {"keep_color": "lab"}
    alone = tensors(stylizer.frames(frames, STYLE, **given))
    together = tensors(stylizer.frames(frames, STYLE, statistics="whole batch", **given))
    pairs = zip(frames, alone, strict=True)
    assert all(abs(float(result.mean() - frame.mean())) < 0.05 for frame, result in pairs)
    assert not torch.equal(alone[0], together[0])
    means = [torch.cat(pictures).mean() for pictures in (frames, together)]
    assert abs(float(means[0] - means[1])) < 0.05


def test_masks_belong_to_their_frames_and_black_ones_keep_them(stylizer):
    frames = clip(3)
    half = torch.zeros(48, 64)
    half[:, :32] = 1
    masks = [None, half, torch.zeros(48, 64)]
    for statistics in ("per frame", "whole batch", "one frame"):
        with pytest.warns(StylePluginWarning, match="empty_mask"):
            results = list(
                stylizer.frames(frames, STYLE, masks=masks, statistics=statistics, frame=1, **options(stylizer))
            )
        assert torch.equal(results[1].tensor[..., 32:], frames[1][..., 32:])
        assert not torch.equal(results[1].tensor[..., :32], frames[1][..., :32])
        assert torch.equal(results[2].tensor, frames[2])
        assert [bool(result.report.warnings) for result in results] == [False, False, True]


def test_frames_may_have_several_sizes(stylizer):
    frames = [clip(1)[0], clip(1, 33, 50)[0]]
    for statistics in ("per frame", "whole batch", "one frame"):
        results = tensors(stylizer.frames(frames, STYLE, statistics=statistics, **options(stylizer)))
        assert [result.shape for result in results] == [frame.shape for frame in frames]


def test_frames_are_read_when_their_turn_comes(stylizer):
    class Film:
        read = 0

        def __len__(self):
            return 3

        def __getitem__(self, i):
            Film.read += 1
            return clip(3)[i]

    results = stylizer.frames(Film(), STYLE, **options(stylizer))
    assert Film.read == 0
    next(results)
    assert Film.read == 1


@pytest.mark.parametrize(
    ("statistics", "ahead"), [("per frame", [1, 2, 3, 4]), ("one frame", [3, 3, 3, 4]), ("whole batch", [4, 4, 4, 4])]
)
def test_an_iterator_is_read_no_further_than_its_results_need(stylizer, statistics, ahead):
    taken = {"frames": 0, "masks": 0}

    def counted(name, items):
        for item in items:
            taken[name] += 1
            yield item

    frames, masks = clip(4), [None, torch.cat([torch.ones(48, 32), torch.zeros(48, 32)], 1), None, None]
    chosen = {"statistics": statistics, "frame": 2, **options(stylizer)}
    results = stylizer.frames(counted("frames", frames), STYLE, masks=counted("masks", masks), **chosen)
    assert taken == {"frames": 0, "masks": 0}
    for expected, count in zip(stylizer.frames(frames, STYLE, masks=masks, **chosen), ahead, strict=True):
        assert torch.equal(next(results).tensor, expected.tensor)
        assert taken == {"frames": count, "masks": count}
    assert next(results, None) is None


@pytest.mark.parametrize(
    ("frames", "masks", "ended"), [(3, 2, "The masks end after 2"), (2, 3, "The frames end after 2")]
)
def test_an_iterator_that_ends_early_is_said_when_it_does(stylizer, frames, masks, ended):
    results = stylizer.frames(iter(clip(frames)), STYLE, masks=iter([None] * masks), **options(stylizer))
    next(results)
    next(results)
    with pytest.raises(MaskError, match=ended) as caught:
        next(results)
    assert caught.value.code == "SP222"
    with pytest.raises(UsageError, match="from frame 5, but the last of the 2 frames is 1"):
        next(stylizer.frames(iter(clip(2)), STYLE, statistics="one frame", frame=5, **options(stylizer)))
    assert list(stylizer.frames(iter([]), STYLE, statistics="one frame", **options(stylizer))) == []


@pytest.mark.slow
def test_V01_of_ten_thousand_frames_few_are_in_memory(kb_model):
    """Most of them at strength 0, which goes the same way but through the network."""
    info = describe(kb_model, name="tiny", license="MIT", sha256="0" * 64)
    stylizer = Stylizer(kb_model, info, EngineOptions(device="cpu"))
    for count, strength in ((10_000, 0.0), (20, 1.0)):
        film, sources = weakref.WeakSet(), weakref.WeakSet()

        def frames(count=count, sources=sources):
            for i in range(count):
                frame = torch.full((1, 3, 8, 8), 0.5 * i / count)
                frame[..., 0] = 1
                sources.add(frame)
                yield frame

        seen = 0
        for result in stylizer.frames(frames(), STYLE, strength=strength):
            film.add(result.tensor)
            seen += 1
            assert len(sources) <= 2 and len(film) <= 2
        assert seen == count


@pytest.mark.filterwarnings("ignore:blank_content")
def test_V05_a_black_frame_changes_nothing_for_the_others(stylizer):
    frames, black = clip(3), torch.zeros(1, 3, 48, 64)
    for statistics in ("per frame", "whole batch", "one frame"):
        chosen = {"statistics": statistics, **options(stylizer)}
        alone = tensors(stylizer.frames(frames, STYLE, **chosen))
        first, dark, *rest = tensors(stylizer.frames([frames[0], black, *frames[1:]], STYLE, **chosen))
        assert dark.isfinite().all()
        for result, expected in zip([first, *rest], alone, strict=True):
            assert torch.equal(result, expected)


@pytest.mark.filterwarnings("ignore:blank_content")
def test_V05_a_black_frame_gives_no_statistics_to_others(stylizer):
    frames = [torch.zeros(1, 3, 48, 64), *clip(2)]
    with pytest.raises(UsageError, match="Frame 0 has no contrast") as caught:
        next(stylizer.frames(frames, STYLE, statistics="one frame", **options(stylizer)))
    assert caught.value.code == "SP118"
    (alone,) = stylizer.frames(frames[:1], STYLE, statistics="one frame", **options(stylizer))
    assert alone.tensor.isfinite().all()
    black = tensors(stylizer.frames(frames[:1] * 2, STYLE, statistics="whole batch", **options(stylizer)))
    assert torch.equal(*black) and black[0].isfinite().all()


def test_V05_a_fade_to_black_stays_finite(stylizer):
    fading = [share * clip(1)[0] for share in (1.0, 0.5, 0.1, 0.01)]
    for statistics in ("per frame", "whole batch", "one frame"):
        assert all(
            result.isfinite().all()
            for result in tensors(stylizer.frames(fading, STYLE, statistics=statistics, **options(stylizer)))
        )


def test_impossible_wishes_are_refused_before_any_work(stylizer):
    frames = clip(2)
    with pytest.raises(UsageError, match="from frame 2, but the last of the 2 frames is 1"):
        stylizer.frames(frames, STYLE, statistics="one frame", frame=2)
    with pytest.raises(MaskError, match="There are 3 masks for 2 frames"):
        stylizer.frames(frames, STYLE, masks=[None] * 3)
    with pytest.raises(UsageError, match="must be one of per frame, whole batch, one frame"):
        stylizer.frames(frames, STYLE, statistics="all")
    with pytest.raises(UsageError, match="no option 'statistics'"):
        stylizer(frames[0], STYLE, statistics="per frame")
    black = [torch.zeros(48, 64), None]
    with pytest.warns(StylePluginWarning), pytest.raises(UsageError, match="Frame 0 is hidden by its mask"):
        list(stylizer.frames(frames, STYLE, masks=black, statistics="one frame", **options(stylizer)))
    assert list(stylizer.frames([], STYLE, **options(stylizer))) == []


@pytest.mark.parametrize("statistics", ["per frame", "whole batch", "one frame"])
def test_progress_goes_up_to_the_end_and_can_be_stopped_at_every_step(stylizer, statistics):
    frames, style = clip(3), stylizer.prepare(STYLE)
    shares = []

    def note(done: float, total: float, stage: str) -> None:
        shares.append(done / total)

    list(stylizer.frames(frames, style, statistics=statistics, on_step=note, **options(stylizer)))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    for step in (0, len(shares) // 2, len(shares) - 1):
        left = iter(range(step))

        def stop(*_, left=left):
            if next(left, None) is None:
                raise Cancelled

        with pytest.raises(Cancelled):
            list(stylizer.frames(frames, style, statistics=statistics, on_step=stop, **options(stylizer)))


def test_a_style_is_measured_where_its_mask_is_white(stylizer):
    picture = torch.cat([STYLE, 1 - 0.5 * STYLE], 2)
    mask = torch.zeros(40, 96)
    mask[:, :48] = 1
    masked = stylizer.prepare(picture, mask=mask)
    whole, plain = stylizer.prepare(picture), stylizer.prepare(STYLE)
    masked_mean, whole_mean, mean = (style.code[-1][-1].mean for style in (masked, whole, plain))
    assert (masked_mean - mean).norm() < (whole_mean - mean).norm()
    with pytest.raises(MaskError, match="black everywhere"):
        stylizer.prepare(picture, mask=torch.zeros(40, 96))
    with pytest.raises(UsageError, match="without its picture"):
        stylizer.prepare(masked, mask=mask)


def test_a_picture_that_nobody_can_see_comes_back_as_it_is(stylizer):
    hidden = np.full((40, 40, 4), 200, dtype=np.uint8)
    hidden[..., 3] = 0
    with pytest.warns(StylePluginWarning, match="empty_alpha"):
        result = stylizer(hidden, STYLE, **options(stylizer))
    assert np.asarray(result.image)[..., 3].max() == 0


def test_memory_needed_grows_with_the_picture_and_the_frames(stylizer):
    small, large = (stylizer.memory_needed((side, side)) for side in (512, 2048))
    assert small < large < 17 * small
    assert stylizer.memory_needed((512, 512), frames=8) > 2 * small


def test_results_may_be_used_in_training(stylizer):
    result = stylizer(clip(1)[0], STYLE, **options(stylizer))
    assert not result.tensor.is_inference()
    assert isinstance(result, styleplugin.Result)
