import pytest
import torch

from styleplugin.methods.optimization.scales import Scale, coarse_to_fine, resized


def test_scales_double_and_coarse_ones_get_more_steps():
    assert coarse_to_fine((600, 801), 3, 60) == [
        Scale(0.25, (150, 200), 30),
        Scale(0.5, (300, 400), 20),
        Scale(1, (600, 801), 10),
    ]


def test_scales_too_small_to_show_anything_are_left_out_but_the_picture_never_is():
    assert [scale.size for scale in coarse_to_fine((256, 300), 4, 9)] == [(128, 150), (256, 300)]
    assert coarse_to_fine((1, 1), 4, 9) == [Scale(1, (1, 1), 9)]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100])
def test_all_steps_are_shared_out_and_each_scale_has_one(steps):
    counts = [scale.steps for scale in coarse_to_fine((2048, 2048), 3, steps)]
    assert min(counts) >= 1 and sum(counts) == max(steps, 3)


def test_work_is_counted_in_pixels():
    assert Scale(1, (30, 40), 5).work(2) == 2400


def test_a_picture_of_the_size_asked_for_comes_back_itself():
    picture = torch.rand(1, 3, 12, 10)
    assert resized(picture, (12, 10)) is picture
    assert resized(torch.full((1, 3, 12, 10), 0.5), (6, 5)).allclose(torch.tensor(0.5))
