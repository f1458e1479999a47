"""A cache whose disk is full, read-only, in the way or gone: one sentence, and nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import DiskError
from fiftyone_deepcluster.images.cache import folder as folder_module
from fiftyone_deepcluster.images.cache.folder import FOLDER_VARIABLE
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images
from tests.observers import Acts

GRAY = Decode(16, "gray")
IMAGES = np.random.default_rng(0).integers(0, 256, (600, 20, 20), dtype=np.uint8)
NEED = r"153\.6 kB needed"


def opened(cache, observer=None, images=IMAGES):
    open_images(images, GRAY, observer=observer or Silent(), cache_dir=cache).close()


def names(cache):
    """Files other than locks, which are empty."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def refused(match, *args, **options):
    with pytest.raises(DiskError, match=match) as caught:
        opened(*args, **options)
    text = str(caught.value)
    assert FOLDER_VARIABLE in text
    assert str(args[0]) in text
    assert "\n" not in text


@pytest.fixture
def no_reserve(monkeypatch):
    monkeypatch.setattr(folder_module, "_RESERVE", 0)


def test_a_disk_without_room(small_disk):
    disk = small_disk(2**20)
    refused(
        r"need 153\.6 kB, and its disk has 1\.0 MB free, of which 536\.9 MB are left to other", disk.folder
    )
    assert names(disk.folder) == []


@pytest.mark.usefixtures("no_reserve")
def test_a_disk_that_fills_up_at_the_end(small_disk):
    disk = small_disk(2**20)
    refused("No space left on device", disk.folder, Acts(disk.fill, at_steps=True))
    assert names(disk.folder) == ["ballast"]


def test_a_read_only_disk(small_disk):
    disk = small_disk(2**20)
    disk.read_only()
    refused("Read-only file system; make it writable and call again", disk.folder)
    refused("Read-only file system", disk.folder / "cache")


def test_a_folder_that_is_removed_while_images_are_read(tmp_path):
    store = open_images(IMAGES, GRAY, observer=Silent(), cache_dir=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    assert store.read(np.arange(3)).shape == (3, 16, 16, 1)
    store.close()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "cache"):
        refused(f"{tmp_path / 'file'} is a file; move that file away and call again", place)


@pytest.mark.parametrize("as_files", [False, True])
def test_a_folder_that_is_removed_while_images_are_decoded(tmp_path, as_files):
    cache = tmp_path / "cache"
    images = IMAGES
    if as_files:
        from PIL import Image

        images = [tmp_path / f"{row}.png" for row in range(100)]
        for row, path in enumerate(images):
            Image.fromarray(IMAGES[row]).save(path)
    observer = Acts(lambda: shutil.rmtree(cache, ignore_errors=True), at_steps=True)
    refused("No such file or directory; restore the folder and call again", cache, observer, images)
    assert not cache.exists()
    opened(cache, images=images)


def test_a_file_that_was_cut_off(tmp_path):
    store = open_images(IMAGES, GRAY, observer=Silent(), cache_dir=tmp_path)
    (path,) = tmp_path.glob("*.npy")
    with path.open("r+b") as file:
        file.truncate(200)
    with pytest.raises(DiskError, match=f"{path} cannot be read: it was truncated; delete it and call again"):
        store.read(np.array([599]))
    store.close()


LIMITED = """
import resource, sys
import numpy as np
from pathlib import Path
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
images = np.zeros((600, 20, 20), np.uint8)
try:
    open_images(images, Decode(16, "gray"), observer=Silent(), cache_dir=sys.argv[1])
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_limit_of_the_process(tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.startswith(
        f"DiskError the image cache {tmp_path} cannot be written: File too large (153.6 kB needed"
    )
    assert said.count("\n") == 1
    assert names(tmp_path) == []
