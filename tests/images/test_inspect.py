"""Size and color of a set of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_deepcluster.errors import ImagesError
from fiftyone_deepcluster.images.inspect import ImageFacts, image_facts
from fiftyone_deepcluster.images.refs import ImageRef

RNG = np.random.default_rng(51)


def files(folder: Path, sizes, mode="L", suffix="png") -> list[Path]:
    paths = []
    for number, (height, width) in enumerate(sizes):
        pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.{suffix}")
        Image.fromarray(pixels).convert(mode).save(paths[-1])
    return paths


def test_facts_are_medians_over_the_images(tmp_path):
    facts = image_facts(files(tmp_path, [(10, 20), (30, 20), (50, 60)]))
    assert facts == ImageFacts(n=3, side=30, gray=True, height=30, width=20)


def test_size_of_a_box_counts_and_not_that_of_its_file(tmp_path):
    (path,) = files(tmp_path, [(100, 200)])
    facts = image_facts([ImageRef(str(path), (0, 0, 0.5, 0.2))])
    assert (facts.side, facts.height, facts.width) == (100, 20, 100)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_color_images_are_not_gray(tmp_path, suffix):
    assert not image_facts(files(tmp_path, [(64, 64)] * 3, "RGB", suffix)).gray


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_gray_images_stored_as_rgb_are_gray(tmp_path, suffix):
    pixels = RNG.integers(0, 256, (200, 200, 1), dtype=np.uint8).repeat(3, axis=-1)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    assert image_facts([tmp_path / f"a.{suffix}"]).gray


def test_one_color_image_makes_the_set_color(tmp_path):
    (tmp_path / "gray").mkdir()
    paths = files(tmp_path, [(20, 20)], "RGB") + files(tmp_path / "gray", [(20, 20)] * 5)
    assert not image_facts(paths).gray
    assert not image_facts(paths[::-1]).gray


def test_sample_is_spread_evenly_over_the_images(tmp_path):
    paths = files(tmp_path, [(8, 8)] * 5 + [(16, 16)] * 5)
    assert image_facts(paths, sample=1).side == 8
    assert image_facts(paths, sample=2).side == 12


def test_unreadable_files_are_ignored(tmp_path):
    paths = [tmp_path / "none.png", *files(tmp_path, [(12, 12)])]
    assert image_facts(paths).side == 12
    facts = image_facts([tmp_path / "none.png"])
    assert facts.n == 1
    assert facts.side > 0


def test_arrays_give_size_and_color():
    gray = RNG.integers(0, 256, (5, 8, 12), dtype=np.uint8)
    assert image_facts(gray) == ImageFacts(n=5, side=12, gray=True, height=8, width=12)
    assert image_facts(gray[..., None]).gray
    assert image_facts(np.stack([gray] * 3, axis=-1)).gray
    assert not image_facts(RNG.integers(0, 256, (5, 8, 12, 3), dtype=np.uint8)).gray


@pytest.mark.parametrize(
    ("images", "need"),
    [
        ([], "there are no images"),
        ("photos", r"such as sorted\(Path\(folder\)"),
        (Path("one.png"), "give a list of paths"),
        ([3], r"images has an entry of type int \(at 0\)"),
        (
            [np.zeros((8, 8), np.uint8)],
            r"images has an entry of type ndarray \(at 0\); give one array for all images",
        ),
        (np.zeros((2, 8, 8)), "give uint8"),
        (np.zeros((8, 8), np.uint8), r"has shape \(8, 8\)"),
        (np.zeros((2, 8, 8, 5), np.uint8), r"has shape \(2, 8, 8, 5\)"),
        (np.zeros((0, 8, 8), np.uint8), "which is empty"),
    ],
)
def test_invalid_images_are_refused(images, need):
    with pytest.raises(ImagesError, match=need):
        image_facts(images)
