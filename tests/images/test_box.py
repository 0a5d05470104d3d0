import torch

from styleplugin.images.box import AT_ONCE, Box, Span, bands, tiles, tiles_with_halo


def test_bands_hold_every_row_once_and_at_most_so_many_cells():
    assert list(bands((7, 10), 30)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(bands((2, 100), 30)) == [slice(0, 1), slice(1, 2)]
    assert list(bands((5, 4))) == [slice(0, 5)] and list(bands((0, 0))) == []
    assert [rows.stop - rows.start for rows in bands((AT_ONCE, 4))] == [AT_ONCE // 4] * 4


def test_tiles_with_a_halo_see_no_further_than_the_picture():
    size = (40, 70)
    cut = tiles_with_halo(size, 32, 16, multiple=16)
    assert [tile.box for tile in cut] == list(tiles(size, 32, multiple=16))
    assert cut[1].box == Box(Span(0, 32), Span(32, 48))
    assert cut[1].crop == Box(Span(0, 40), Span(16, 64))
    assert [tile.crop for tile in tiles_with_halo(size, 0, 16)] == [Box.whole(size)]


def test_the_own_cells_of_a_tile_are_those_of_its_box_at_any_stride():
    values = torch.arange(64 * 96).view(1, 1, 64, 96)
    for tile in tiles_with_halo((64, 96), 32, 16, multiple=16):
        assert torch.equal(tile.own(tile.crop.of(values)), tile.box.of(values))
        coarse = values[:, :, ::16, ::16]
        cells = tile.crop.cells(16).of(coarse)
        assert torch.equal(tile.own(cells, 16), tile.box.cells(16).of(coarse))
