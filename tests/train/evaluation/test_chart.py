import numpy as np

from styleplugin.train.evaluation.chart import HEIGHT, WIDTH, Panel, draw


def colors(image) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3)}


def test_each_phase_has_a_panel_and_each_name_one_color():
    first = Panel("one", {"loss": [(0, 100.0), (10, 1.0)]})
    second = Panel("two", {"style": [(0, 3.0)], "loss": [(0, 0.001), (1, 0.002)]})
    image = draw([first, second])
    assert image.size == (2 * WIDTH, HEIGHT)
    left, right = image.crop((0, 0, WIDTH, HEIGHT)), image.crop((WIDTH, 0, 2 * WIDTH, HEIGHT))
    blue, red = (0x1F, 0x5F, 0xBF), (0xD1, 0x49, 0x5B)
    assert blue in colors(left) and red not in colors(left)
    assert {blue, red} <= colors(right)


def test_a_falling_loss_falls():
    image = np.asarray(draw([Panel("", {"loss": [(0, 100.0), (100, 1.0)]})]))
    rows, columns = np.nonzero((image == (0x1F, 0x5F, 0xBF)).all(2))
    rows, columns = rows[rows > 60], columns[rows > 60]
    assert rows[columns.argmin()] < rows[columns.argmax()]


def test_nothing_and_a_single_value_can_be_drawn():
    assert draw([]).size == (WIDTH, HEIGHT)
    assert draw([Panel("empty")]).size == (WIDTH, HEIGHT)
    assert len(colors(draw([Panel("one", {"loss": [(5, 1.0)]})]))) > 2
