import pytest
import torch
from torch.testing import assert_close

from styleplugin.transforms.guided_filter import guided_filter


def brute_force(guide, picture, radius, flatness):
    """Evaluate the equations of the paper window by window."""
    _, _, height, width = guide.shape
    slopes, offsets = torch.zeros(height, width, 3, 3), torch.zeros(height, width, 3)

    def window(y, x):
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    for y in range(height):
        for x in range(width):
            g, p = (image[0][(slice(None), *window(y, x))].flatten(1) for image in (guide, picture))
            centered = g - g.mean(1, keepdim=True)
            covariance = centered @ centered.T / g.shape[1] + flatness * torch.eye(3)
            slope = torch.linalg.solve(covariance, centered @ p.T / g.shape[1])
            slopes[y, x], offsets[y, x] = slope, p.mean(1) - slope.T @ g.mean(1)
    result = torch.zeros_like(picture)
    for y in range(height):
        for x in range(width):
            rows, cols = window(y, x)
            slope, offset = slopes[rows, cols].mean((0, 1)), offsets[rows, cols].mean((0, 1))
            result[0, :, y, x] = slope.T @ guide[0, :, y, x] + offset
    return result


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 3, 20, 13, generator=generator) for _ in range(2)]


def test_it_is_the_filter_of_the_paper(pictures):
    wanted = brute_force(*pictures, 2, 0.01)
    assert_close(guided_filter(*pictures, 2, flatness=0.01), wanted, rtol=0, atol=1e-5)


def test_the_guide_itself_comes_back_and_noise_in_flat_places_goes(pictures):
    guide, noise = pictures
    assert_close(guided_filter(guide, guide, 4), guide, rtol=0, atol=0.02)
    flat = torch.full_like(guide, 0.5)
    assert guided_filter(flat, noise, 4).std() < 0.2 * noise.std()
