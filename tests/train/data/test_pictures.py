import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from styleplugin.errors import InputImageError, StylePluginWarning, UsageError
from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.train.data import pictures
from styleplugin.train.data.decode import decode
from styleplugin.train.data.pictures import load_pictures, load_set, step_generator
from styleplugin.train.data.sources import count_pictures, holds_pictures, read_files
from styleplugin.train.recipe.options import DataOptions


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


def write_broken(root: Path, count: int) -> None:
    (root / "photos-more").mkdir()
    for number in range(count):
        (root / "photos-more" / f"bad{number}.png").write_bytes(png(900 + number)[:300])


@pytest.mark.parametrize(("good", "broken"), [(2, 1), (4, 3), (12, 3)])
def test_R07_three_broken_pictures_stop_no_folder_of_more_than_twice_as_many(tmp_path: Path, good: int, broken: int):
    write_set(tmp_path, good)
    write_broken(tmp_path, broken)
    with pytest.warns(StylePluginWarning, match=rf"{broken} broken .*bad0\.png"):
        training, validation = load(tmp_path)
    assert len(training) + len(validation) == good


@pytest.mark.parametrize(("good", "broken"), [(20, 4), (3, 3), (1, 1), (1, 3)])
def test_R07_too_many_broken_pictures_are_an_error(tmp_path: Path, good: int, broken: int):
    write_set(tmp_path, good)
    write_broken(tmp_path, broken)
    with pytest.raises(UsageError, match=rf"{broken} of {good + broken} .*bad0\.png.*damaged") as caught:
        load(tmp_path)
    assert caught.value.code == "SP132"


def test_R07_a_file_that_cannot_be_opened_is_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_set(tmp_path, 4)
    (tmp_path / "photos-more").mkdir()
    (tmp_path / "photos-more" / "mine.png").write_bytes(png(50))
    (tmp_path / "photos-more" / "empty.png").touch()
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "mine.png":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.warns(StylePluginWarning, match=r"2 broken .*empty\.png.*mine\.png.*Permission denied"):
        load(tmp_path)


def test_R07_duplicates_count_once(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for name in "abc":
        (tmp_path / "photos" / f"{name}.png").write_bytes(png(0))
    assert len(list(read_files(tmp_path / "photos"))) == 1


def test_R07_links_are_followed_except_to_folders_above_and_in_tars(tmp_path: Path):
    outside, root = tmp_path / "outside", tmp_path / "home" / "root"
    (outside / "deep").mkdir(parents=True)
    (root / "photos").mkdir(parents=True)
    for number, place in enumerate((tmp_path / "home", outside, outside / "deep")):
        (place / f"{number}.png").write_bytes(png(number))
    write_tar(outside / "blob", {"3.png": png(3)})
    (root / "photos" / "picture.png").symlink_to(outside / "1.png")
    (root / "photos" / "dangling.png").symlink_to(outside / "gone.png")
    (root / "folder").symlink_to(outside / "deep")
    (root / "LINKED.TAR").symlink_to(outside / "blob")
    (outside / "deep" / "again").symlink_to(outside / "deep")
    for above in (root, root.parent, tmp_path):
        (root / "photos" / f"to-{above.name}").symlink_to(above)
    with tarfile.open(root / "photos.tar", "w") as archive:
        member = tarfile.TarInfo("link.png")
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / "home" / "0.png")
        archive.addfile(member)
    expected = ["LINKED.TAR/3.png", "root/folder/2.png", "root/photos/picture.png"]
    assert [file.name for file in read_files(root)] == expected
    assert count_pictures(root) == 3 and holds_pictures(root / "photos")


def test_companions_of_macos_are_no_pictures(tmp_path: Path):
    write_tar(tmp_path / "photos.tar", {"a.png": png(0), "._a.png": b"\0\5\26\7"})
    (tmp_path / "photos-1").mkdir()
    for name, content in {"b.PNG": png(1), "._b.PNG": b"\0\5\26\7", "notes.txt": b"x"}.items():
        (tmp_path / "photos-1" / name).write_bytes(content)
    assert [file.name for file in read_files(tmp_path / "photos*")] == ["photos.tar/a.png", "photos-1/b.PNG"]
    assert not holds_pictures(tmp_path / "photos-1" / "none")


def test_several_sources_are_read_in_their_order_and_every_content_once(tmp_path: Path):
    for folder, seeds in (("photos-b", (3, 1)), ("a", (1, 2))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            (tmp_path / folder / f"{seed}.png").write_bytes(png(seed))
    write_tar(tmp_path / "photos.tar", {"0.png": png(0)})
    expected = ["a/1.png", "a/2.png", "photos.tar/0.png", "photos-b/3.png"]
    assert [file.name for file in read_files(tmp_path / "a", tmp_path / "photos*")] == expected
    with pytest.raises(UsageError) as caught:
        next(read_files(tmp_path / "a", tmp_path / "nowhere"))
    assert caught.value.code == "SP130"


def test_patterns_are_styles_alone_and_at_most_a_fifth_of_the_crops(tmp_path: Path):
    """8 black artworks and 24 white patterns, and a photograph."""
    kinds = ["photo", *8 * ["painting"], *24 * ["pattern"]]
    write_tar(tmp_path / "all.tar", {f"{i}.png": plain(255 * (kind == "pattern")) for i, kind in enumerate(kinds)})
    rows = [f"all.tar,{i}.png,{kind},CC0-1.0,f{i:063}" for i, kind in enumerate(kinds)]
    (tmp_path / "index.csv").write_text("\n".join(["tar,file,kind,license,sha256", *rows]))
    options = DataOptions(photos=str(tmp_path / "all.tar"), paintings=str(tmp_path / "all.tar"), crop=32)
    with pytest.warns(StylePluginWarning, match="both sets"):
        contents, styles = (load_set(options, styles=styles)[0] for styles in (False, True))
    assert (len(contents), contents.chances, len(styles)) == (1, None, 33)
    assert styles.chances is not None and styles.chances.tolist() == pytest.approx([0.8 / 9] * 9 + [0.2 / 24] * 24)
    crops = styles.random_crops(1000, 32, step_generator(0, "x", 0))
    assert 150 < int((crops.mean((1, 2, 3)) == 1).sum()) < 250


def plain(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 40), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.JFIF", "a.bmp", "a.tif", "a.gif", "a.ppm", "a.webp"])
def test_what_every_other_command_reads_is_read(tmp_path: Path, name: str):
    (tmp_path / "photos").mkdir()
    kind = {"jfif": "JPEG", "tif": "TIFF"}.get(name[2:].lower(), name[2:])
    Image.open(io.BytesIO(png(0))).save(tmp_path / "photos" / name, kind)
    with pytest.warns(StylePluginWarning, match="both sets"):
        assert len(load(tmp_path)[0]) == 1


def decoded(image: Image.Image, kind: str = "PNG", **settings: object) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return decode(buffer.getvalue(), f"a.{kind.lower()}", short_side=99, smallest=1)


def test_pictures_are_read_as_every_other_command_reads_them(tmp_path: Path):
    ramp = np.linspace(0, 65535, 40 * 48).reshape(40, 48).astype(np.uint16)
    gray = decoded(Image.fromarray(ramp))
    assert gray.shape == (40, 48, 3)
    np.testing.assert_allclose(gray[..., 0], ramp / 257, atol=0.51)

    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoded(Image.open(io.BytesIO(png(0))), exif=exif.tobytes()).shape == (48, 40, 3)

    # In a profile whose red and green are exchanged, stored green is red.
    red = Image.new("RGB", (8, 8), (0, 255, 0))
    tags = SRGB_PROFILE.replace(b"rXYZ", b"TEMP").replace(b"gXYZ", b"rXYZ").replace(b"TEMP", b"gXYZ")
    np.testing.assert_allclose(decoded(red, icc_profile=tags)[0, 0], (255, 0, 0), atol=2)


def test_what_transparency_hides_is_not_trained_on():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:] = (250, 0, 130, 0)
    pixels[2:4, 2:6] = (10, 100, 30, 255)
    pixels[4:6, 2:6] = (30, 200, 90, 255)
    seen = decoded(Image.fromarray(pixels))
    assert (seen[0, 0] == (20, 150, 60)).all() and (seen[2, 2] == (10, 100, 30)).all()
    half = pixels.copy()
    half[2, 2, 3] = 128
    changed = decoded(Image.fromarray(half))[2, 2]
    assert (changed > (10, 100, 30)).all() and (changed < (20, 150, 60)).all()
    with pytest.raises(InputImageError, match="transparent everywhere"):
        decoded(Image.new("RGBA", (8, 8), (1, 2, 3, 0)))


def test_long_and_narrow_pictures_are_left_out_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch):
    buffer = io.BytesIO()
    Image.new("L", (20_000, 1)).save(buffer, "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(InputImageError, match="20000 x 1"):
        decode(buffer.getvalue(), "line.png", short_side=300, smallest=140)


def test_few_files_are_held_at_a_time():
    started: list[int] = []

    def values() -> Iterator[int]:
        for number in range(1000):
            started.append(number)
            yield number

    results = pictures._map(lambda value: value + 1, values())
    assert next(results) == 1 and len(started) <= 4 * (os.cpu_count() or 1) + 1
    assert list(results) == list(range(2, 1001))


def test_the_fingerprint_changes_with_the_pictures(tmp_path: Path):
    marks = set()
    for count in (3, 4):
        root = tmp_path / str(count)
        root.mkdir()
        write_set(root, count)
        marks.add(load(root)[0].fingerprint)
        marks.add(load(root)[0].fingerprint)
    assert len(marks) == 2
