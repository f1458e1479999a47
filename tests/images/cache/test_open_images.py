"""The image cache: images are decoded once, reused, limited on disk, and never stored incompletely."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import DiskError, ImagesError
from fiftyone_deepcluster.images.cache import decode_jobs
from fiftyone_deepcluster.images.cache import folder as folder_module
from fiftyone_deepcluster.images.cache.folder import BOUND_VARIABLE, FOLDER_VARIABLE, CacheFolder
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images
from fiftyone_deepcluster.images.decode import fit_to
from fiftyone_deepcluster.images.intensity import recolor
from fiftyone_deepcluster.images.refs import ImageRef
from tests.observers import Watcher

GRAY = Decode(16, "gray")


def files(folder: Path, n: int, side: int = 16) -> list[str]:
    folder.mkdir(exist_ok=True)
    for row in range(n):
        Image.fromarray(pixels_of(row, side)).save(folder / f"{row:04d}.bmp")
    return [str(folder / f"{row:04d}.bmp") for row in range(n)]


def pixels_of(row: int, side: int = 16):
    return np.random.default_rng(row).integers(0, 256, (side, side), dtype=np.uint8)


def opened(images, cache, decode=GRAY, **options):
    return open_images(images, decode, observer=options.pop("observer", Silent()), cache_dir=cache, **options)


def names(cache: Path, suffix: str) -> list[str]:
    return sorted(path.name for path in cache.glob(f"*.{suffix}"))


class TestReading:
    @pytest.mark.parametrize("n", [3, 600])
    def test_rows_are_read_in_any_order(self, tmp_path, cache, n):
        with opened(files(tmp_path / "in", n), cache, workers=2) as store:
            assert store.shape == (n, 16, 16, 1)
            assert store.kept.tolist() == list(range(n))
            assert store.errors == {}
            rows = np.array([2, 0, 2, 1, n - 1, n - 2])
            batch = store.read(rows)
            assert batch.dtype == np.uint8
            np.testing.assert_array_equal(batch[..., 0], [pixels_of(row) for row in rows])
            np.testing.assert_array_equal(store.read(np.arange(n))[..., 0], [pixels_of(r) for r in range(n)])
            assert store.read(np.array([], np.int64)).shape == (0, 16, 16, 1)

    def test_unreadable_images_are_left_out(self, tmp_path, cache):
        paths = files(tmp_path / "in", 6)
        Path(paths[1]).write_bytes(b"")
        Path(paths[4]).unlink()
        with opened(paths, cache) as store:
            assert store.shape == (4, 16, 16, 1)
            assert store.kept.tolist() == [0, 2, 3, 5]
            assert store.errors == {1: "the file is empty", 4: "there is no such file"}
            np.testing.assert_array_equal(store.read(np.array([3, 1]))[..., 0], [pixels_of(5), pixels_of(2)])

    def test_no_readable_image_is_an_error(self, tmp_path, cache):
        missing = [tmp_path / f"{name}.png" for name in "abcd"]
        with pytest.raises(
            ImagesError, match=r"none of the 4 images can be read; .*c\.png: there is no"
        ) as e:
            opened(missing, cache)
        assert "d.png" not in str(e.value)

    def test_boxes_of_one_file_are_separate_images(self, tmp_path, cache):
        (path,) = files(tmp_path / "in", 1, side=32)
        refs = [ImageRef(path, (x, 0, 0.5, 0.5)) for x in (0, 0.5)]
        with opened(refs, cache) as store:
            expected = pixels_of(0, 32)
            np.testing.assert_array_equal(
                store.read(np.arange(2))[..., 0], [expected[:16, :16], expected[:16, 16:]]
            )

    def test_images_are_decoded_to_size_and_color(self, tmp_path, cache):
        with opened(files(tmp_path / "in", 2, side=40), cache, Decode(24, "rgb")) as store:
            assert store.shape == (2, 24, 24, 3)
            expected = fit_to(recolor(pixels_of(1, 40)[..., None], "rgb"), 24, 24)
            np.testing.assert_array_equal(store.read(np.array([1]))[0], expected)

    def test_reading_a_closed_store_is_an_error(self, tmp_path, cache):
        store = opened(files(tmp_path / "in", 2), cache)
        store.close()
        store.close()
        with pytest.raises(ImagesError, match="store is closed"):
            store.read(np.array([0]))

    def test_progress_counts_every_image(self, tmp_path, cache):
        listener = Watcher()
        opened(files(tmp_path / "in", 200), cache, observer=listener).close()
        assert listener.phases == [("decode", 200)]
        assert listener.steps == 200


class TestArrays:
    def test_right_size_is_served_without_a_copy(self, cache):
        images = np.stack([pixels_of(row) for row in range(5)])
        with opened(images, cache) as store:
            assert store.shape == (5, 16, 16, 1)
            np.testing.assert_array_equal(store.read(np.array([4, 1]))[..., 0], images[[4, 1]])
            images[4] = 0
            assert not store.read(np.array([4])).any()
        assert not cache.exists()

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("color", ["gray", "rgb"])
    def test_arrays_are_converted_to_the_requested_color(self, cache, channels, color):
        images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, channels), dtype=np.uint8)
        with opened(images, cache, Decode(16, color)) as store:
            np.testing.assert_array_equal(store.read(np.arange(4)), recolor(images, color))

    def test_arrays_of_another_size_are_resized_once(self, cache):
        images = np.random.default_rng(0).integers(0, 256, (150, 20, 30), dtype=np.uint8)
        for expected in (150, 0):
            listener = Watcher()
            with opened(images, cache, observer=listener) as store:
                np.testing.assert_array_equal(
                    store.read(np.array([149]))[0], fit_to(images[149][..., None], 16, 16)
                )
            assert listener.steps == expected
        images[0] += 1
        listener = Watcher()
        opened(images, cache, observer=listener).close()
        assert listener.steps == 150


class TestReuse:
    def test_second_open_reads_no_image(self, tmp_path, cache):
        paths = files(tmp_path / "in", 5)
        opened(paths, cache).close()
        # The very same bytes on the outside, other pixels within: reading them would show.
        for path in paths:
            stat = Path(path).stat()
            Path(path).write_bytes(b"x" * stat.st_size)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        listener = Watcher()
        with opened(paths, cache, observer=listener) as store:
            np.testing.assert_array_equal(store.read(np.array([3]))[0, ..., 0], pixels_of(3))
        assert listener.phases == []

    def test_errors_are_cached(self, tmp_path, cache):
        paths = [*files(tmp_path / "in", 3), str(tmp_path / "none.png")]
        opened(paths, cache).close()
        listener = Watcher()
        with opened(paths, cache, observer=listener) as store:
            assert store.errors == {3: "there is no such file"}
        assert listener.phases == []

    @pytest.mark.parametrize(
        "change", ["content", "time", "order", "fewer", "size", "color", "crop", "enlarge"]
    )
    def test_any_change_of_images_or_settings_decodes_again(self, tmp_path, cache, change):
        paths = files(tmp_path / "in", 3)
        opened(paths, cache).close()
        decode = GRAY
        if change == "content":
            Image.fromarray(pixels_of(9, 20)).save(paths[1])
        elif change == "time":
            os.utime(paths[1], (1, 1))
        elif change == "order":
            paths = paths[::-1]
        elif change == "fewer":
            paths = paths[:2]
        else:
            decode = {
                "size": Decode(8, "gray"), "color": Decode(16, "rgb"), "crop": Decode(16, "gray", True),
                "enlarge": Decode(16, "gray", enlarge="bicubic"),
            }[change]  # fmt: skip
        listener = Watcher()
        opened(paths, cache, decode, observer=listener).close()
        assert listener.steps == len(paths)

    def test_a_file_that_was_missing_is_read_once_it_exists(self, tmp_path, cache):
        paths = files(tmp_path / "in", 3)
        Path(paths[2]).rename(tmp_path / "away.bmp")
        with opened(paths, cache) as store:
            assert len(store.kept) == 2
        (tmp_path / "away.bmp").rename(paths[2])
        with opened(paths, cache) as store:
            assert len(store.kept) == 3

    def test_temporary_failures_are_tried_again(self, tmp_path, cache):
        paths = files(tmp_path / "in", 3)
        Path(paths[2]).unlink()
        Path(paths[2]).mkdir()
        with opened(paths, cache) as first:
            assert "directory" in first.errors[2]
            # In use: served as it is, rather than waited for.
            with opened(paths, cache) as second:
                assert second.errors == first.errors
        listener = Watcher()
        opened(paths, cache, observer=listener).close()
        assert listener.steps == 3

    @pytest.mark.parametrize("damage", ["shorter", "no pixels", "no facts", "not json", "empty facts"])
    def test_a_damaged_entry_is_built_again(self, tmp_path, cache, damage):
        paths = files(tmp_path / "in", 3)
        opened(paths, cache).close()
        (pixels,), (facts,) = cache.glob("*.npy"), cache.glob("*.json")
        if damage == "shorter":
            os.truncate(pixels, 100)
        elif damage == "no pixels":
            pixels.unlink()
        elif damage == "no facts":
            facts.unlink()
        else:
            facts.write_text("{" if damage == "not json" else "{}")
        with opened(paths, cache) as store:
            np.testing.assert_array_equal(store.read(np.array([2]))[0, ..., 0], pixels_of(2))

    def test_file_is_a_plain_npy(self, tmp_path, cache):
        opened(files(tmp_path / "in", 3), cache).close()
        (path,) = cache.glob("*.npy")
        np.testing.assert_array_equal(np.load(path)[..., 0], [pixels_of(row) for row in range(3)])

    def test_folder_is_set_by_the_environment_variable(self, tmp_path, monkeypatch):
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
        opened(files(tmp_path / "in", 2), None).close()
        assert len(names(tmp_path / "elsewhere", "npy")) == 1

    def test_a_folder_that_cannot_be_created_is_an_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DiskError, match=f"set {FOLDER_VARIABLE}"):
            opened(files(tmp_path / "in", 2), tmp_path / "file" / "cache")


class TestBound:
    # An entry of ten images is 10 * 256 bytes and a header.
    def fill(self, tmp_path, cache, letters):
        for letter in letters:
            opened(files(tmp_path / letter, 10), cache).close()
            time.sleep(0.02)

    def test_least_recently_used_entry_is_deleted_first(self, tmp_path, cache, monkeypatch):
        self.fill(tmp_path, cache, "abc")
        first, *_ = files_by_age(cache)
        opened(sorted(str(p) for p in (tmp_path / "a").iterdir()), cache).close()
        assert files_by_age(cache)[-1] == first
        second = files_by_age(cache)[0]
        monkeypatch.setenv(BOUND_VARIABLE, str(3 * 2900 / 1e9))
        self.fill(tmp_path, cache, "d")
        left = files_by_age(cache)
        assert len(left) == 3
        assert first in left
        assert second not in left
        assert len(names(cache, "json")) == 3 >= len(names(cache, "lock"))

    def test_entries_in_use_are_kept(self, tmp_path, cache, monkeypatch):
        monkeypatch.setenv(BOUND_VARIABLE, str(3000 / 1e9))
        with opened(files(tmp_path / "a", 10), cache) as store:
            self.fill(tmp_path, cache, "bc")
            assert len(names(cache, "npy")) == 2
            np.testing.assert_array_equal(store.read(np.array([3]))[0, ..., 0], pixels_of(3))
        self.fill(tmp_path, cache, "d")
        assert len(names(cache, "npy")) == 1

    def test_entries_of_a_killed_reader_can_be_deleted(self, tmp_path, cache, monkeypatch):
        self.fill(tmp_path, cache, "a")
        (key,) = names(cache, "json")
        script = (
            "import os, sys; from fiftyone_deepcluster.images.cache.folder import CacheFolder\n"
            "held = CacheFolder(sys.argv[1]).lock(sys.argv[2], exclusive=False); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", script, str(cache), Path(key).stem], check=False)
        assert len(names(cache, "use")) == 1
        monkeypatch.setenv(BOUND_VARIABLE, "0.000001")
        self.fill(tmp_path, cache, "b")
        assert key not in names(cache, "json")
        assert names(cache, "use") == []

    def test_readers_exclude_builders_in_every_thread(self, cache):
        folder, key = CacheFolder(cache), "b" * 32
        first, second = (folder.lock(key, exclusive=False) for _ in range(2))
        assert folder.lock(key, exclusive=True) is None
        in_thread(first.release)
        assert folder.lock(key, exclusive=True) is None
        in_thread(second.release)
        builder = folder.lock(key, exclusive=True)
        assert folder.lock(key, exclusive=True) is None
        assert folder.lock(key, exclusive=False) is None
        in_thread(builder.release)
        assert names(cache, "use") == []

    def test_a_set_larger_than_the_limit_gives_a_warning(self, tmp_path, cache, monkeypatch, caplog):
        monkeypatch.setenv(BOUND_VARIABLE, "0.000001")
        self.fill(tmp_path, cache, "a")
        assert BOUND_VARIABLE in caplog.text

    def test_a_limit_that_is_not_a_number_is_an_error(self, tmp_path, cache, monkeypatch):
        monkeypatch.setenv(BOUND_VARIABLE, "lots")
        with pytest.raises(ImagesError, match=f"{BOUND_VARIABLE}='lots' is not a number"):
            self.fill(tmp_path, cache, "a")

    def test_too_little_disk_space_is_an_error(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr(folder_module, "_RESERVE", 2**60)
        with pytest.raises(DiskError, match="free some"):
            self.fill(tmp_path, cache, "a")
        assert names(cache, "part") == names(cache, "npy") == []

    def test_a_full_disk_is_an_error_and_leaves_no_file(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr(decode_jobs, "Path", lambda _: Path("/dev/full"))
        with pytest.raises(DiskError, match="No space left"):
            self.fill(tmp_path, cache, "a")
        assert names(cache, "part") == names(cache, "npy") == []

    def test_files_of_ended_processes_are_deleted(self, tmp_path, cache):
        cache.mkdir()
        dead, half = "d" * 32, "0123456789abcdef" * 2
        leftovers = [cache / name for name in (f"{dead}.part", f"{dead}.lock", f"{half}.npy")]
        for path in leftovers:
            path.write_text("x")
        self.fill(tmp_path, cache, "a")
        assert not any(path.exists() for path in leftovers)

    def test_files_that_are_not_of_the_cache_are_kept(self, tmp_path, cache, monkeypatch):
        monkeypatch.setenv(BOUND_VARIABLE, "0.000001")
        cache.mkdir()
        others = [cache / name for name in ("features.npy", "list.json", "film.part", "a.lock", "list.npy")]
        for path in others:
            path.write_text("x")
        self.fill(tmp_path, cache, "ab")
        assert all(path.exists() for path in others)
        assert len(names(cache, "npy")) == 3

    def test_entries_that_another_process_builds_are_kept(self, tmp_path, cache):
        cache.mkdir()
        key = "b" * 32
        lock = CacheFolder(cache).lock(key, exclusive=True)
        part = CacheFolder(cache).part(key)
        part.write_text("x")
        self.fill(tmp_path, cache, "a")
        assert part.exists()
        lock.release()
        self.fill(tmp_path, cache, "b")
        assert not part.exists()


def in_thread(work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def files_by_age(cache: Path) -> list[str]:
    return [path.stem for path in sorted(cache.glob("*.json"), key=lambda path: path.stat().st_mtime)]
