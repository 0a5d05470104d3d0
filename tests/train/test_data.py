import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from styleplugin.errors import StylePluginWarning, UsageError
from styleplugin.train.data import load_pictures, step_generator
from styleplugin.train.sources import read_files


def png(seed: int, height: int = 40, width: int = 48) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_set(root: Path, count: int, *, held_out: int = 1) -> None:
    """Pictures in a tar whose index gives them invented hashes, the first of them for validation."""
    write_tar(root / "photos-0.tar", {f"{i}.png": png(i) for i in range(count)})
    rows = [f"photos-0.tar,{i}.png,{'0' if i < held_out else 'f'}{i:063}" for i in range(count)]
    (root / "index.csv").write_text("\n".join(["tar,file,sha256", *rows]))


def load(root: Path, **changes: int):
    return load_pictures(root / "photos*", **({"short_side": 40, "smallest": 32} | changes))


def test_the_index_decides_what_is_held_out(tmp_path: Path):
    write_set(tmp_path, 6, held_out=2)
    training, validation = load(tmp_path)
    assert (len(training), len(validation)) == (4, 2)
    first = validation.pixels[: 40 * 48].reshape(40, 48, 3).numpy()
    assert np.array_equal(first, np.asarray(Image.open(io.BytesIO(png(0)))))


def test_a_crop_is_a_window_of_its_picture(tmp_path: Path):
    write_set(tmp_path, 2)
    pictures, _ = load(tmp_path)
    whole = pictures.pixels.reshape(1, 40, 48, 3).permute(0, 3, 1, 2).float() / 255
    windows = whole.unfold(2, 32, 1).unfold(3, 32, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32)
    crops = pictures.random_crops(8, 32, step_generator(0, "x", 0))
    assert crops.is_contiguous(memory_format=torch.channels_last)
    both = torch.cat([windows, windows.flip(3)])
    assert all((both == crop).flatten(1).all(1).any() for crop in crops)
    assert len({crop.numpy().tobytes() for crop in crops}) > 4


def test_crops_follow_from_seed_phase_and_step_alone(tmp_path: Path):
    write_set(tmp_path, 5)
    pictures, _ = load(tmp_path)
    first = pictures.random_crops(4, 32, step_generator(0, "x", 7))
    assert torch.equal(first, pictures.random_crops(4, 32, step_generator(0, "x", 7)))
    for other in ((1, "x", 7), (0, "y", 7), (0, "x", 8)):
        assert not torch.equal(first, pictures.random_crops(4, 32, step_generator(*other)))


def test_random_numbers_outside_training_are_left_alone(tmp_path: Path):
    write_set(tmp_path, 3)
    before = torch.get_rng_state()
    load(tmp_path)[0].random_crops(4, 32, step_generator(0, "x", 0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("size", "expected"), [((20, 30), (32, 48)), ((200, 100), (80, 40)), ((36, 37), (36, 37))])
def test_R07_small_pictures_are_enlarged_and_large_ones_shrunk(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png(0, *size))
    with pytest.warns(StylePluginWarning):
        training, _ = load(tmp_path)
    assert tuple(training.places[0, 1:].tolist()) == expected


def test_R07_an_empty_or_missing_folder_is_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match="neither a folder nor"):
        load(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match="no picture in"):
        load(tmp_path)


def test_R07_one_picture_is_training_and_validation_set_with_a_warning(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png(0))
    with pytest.warns(StylePluginWarning, match="both sets are the same"):
        training, validation = load(tmp_path)
    assert len(training) == len(validation) == 1


def test_R07_a_broken_picture_is_named_and_left_out(tmp_path: Path):
    write_set(tmp_path, 120)
    (tmp_path / "photos-more").mkdir()
    (tmp_path / "photos-more" / "bad.png").write_bytes(png(999)[:300])
    with pytest.warns(StylePluginWarning, match=r"bad\.png"):
        training, validation = load(tmp_path)
    assert len(training) + len(validation) == 120


def test_R07_too_many_broken_pictures_are_an_error(tmp_path: Path):
    write_set(tmp_path, 20)
    (tmp_path / "photos-more").mkdir()
    (tmp_path / "photos-more" / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"1 of 21 .*bad\.png"):
        load(tmp_path)


def test_R07_duplicates_count_once(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for name in "abc":
        (tmp_path / "photos" / f"{name}.png").write_bytes(png(0))
    assert len(list(read_files(tmp_path / "photos"))) == 1


def test_R07_links_are_not_followed(tmp_path: Path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(png(0))
    root = tmp_path / "root"
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "link.png").symlink_to(outside)
    with tarfile.open(root / "photos.tar", "w") as archive:
        member = tarfile.TarInfo("link.png")
        member.type, member.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(member)
    assert list(read_files(root)) == []


def test_the_fingerprint_changes_with_the_pictures(tmp_path: Path):
    marks = set()
    for count in (3, 4):
        root = tmp_path / str(count)
        root.mkdir()
        write_set(root, count)
        marks.add(load(root)[0].fingerprint)
        marks.add(load(root)[0].fingerprint)
    assert len(marks) == 2
