"""The image cache with cancellation, several processes, worker processes and little memory."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from fiftyone_deepcluster.errors import CancelledError
from fiftyone_deepcluster.images.cache import worker_pool
from fiftyone_deepcluster.images.cache.folder import CacheFolder
from fiftyone_deepcluster.images.cache.open_images import Decode
from fiftyone_deepcluster.images.refs import ImageRef
from tests.images.cache.test_open_images import files, names, opened, pixels_of
from tests.observers import Watcher


class TestStopping:
    @pytest.mark.parametrize(("n", "patience"), [(200, 0), (200, 64), (1000, 64)])
    def test_cancelling_stops_decoding_and_leaves_no_file(self, tmp_path, cache, n, patience):
        paths = files(tmp_path / "in", n)
        listener = Watcher(after_steps=patience)
        with pytest.raises(CancelledError):
            opened(paths, cache, observer=listener, workers=2)
        assert listener.steps < n
        assert names(cache, "part") == names(cache, "npy") == names(cache, "json") == []
        assert not [t for t in threading.enumerate() if t.name.startswith("image-jobs")]

    def test_waiting_for_another_process_can_be_cancelled(self, tmp_path, cache):
        paths = files(tmp_path / "in", 3)
        opened(paths, cache).close()
        (facts,) = cache.glob("*.json")
        lock = CacheFolder(cache).lock(facts.stem, exclusive=True)
        with pytest.raises(CancelledError):
            opened(paths, cache, observer=Watcher(after_steps=0))
        lock.release()

    def test_an_entry_of_a_killed_process_is_built_again(self, tmp_path, cache):
        paths = files(tmp_path / "in", 30)
        script = (
            "import os, sys\n"
            "from fiftyone_deepcluster.images.cache.open_images import Decode, open_images\n"
            "from fiftyone_deepcluster.core.progress import Silent\n"
            "class Killer(Silent):\n"
            "    def advance(self, steps): os.kill(os.getpid(), 9)\n"
            "open_images(sys.argv[2:], Decode(16, 'gray'), observer=Killer(), cache_dir=sys.argv[1])\n"
        )
        done = subprocess.run([sys.executable, "-c", script, str(cache), *paths], check=False)
        assert done.returncode == -signal.SIGKILL
        assert names(cache, "part")
        assert not names(cache, "json")
        with opened(paths, cache) as store:
            np.testing.assert_array_equal(store.read(np.array([29]))[0, ..., 0], pixels_of(29))
        assert not names(cache, "part")


def open_in_process(paths, cache, queue):
    with opened(paths, cache, observer=(listener := Watcher())) as store:
        queue.put((listener.steps, int(store.read(np.arange(len(paths))).sum())))


class TestManyAtOnce:
    def test_threads_that_open_at_once_decode_once(self, tmp_path, cache):
        paths = files(tmp_path / "in", 300)
        listeners = [Watcher() for _ in range(4)]
        sums = []

        def work(listener):
            with opened(paths, cache, observer=listener) as store:
                sums.append(int(store.read(np.arange(300)).sum()))

        threads = [threading.Thread(target=work, args=(listener,)) for listener in listeners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(listener.steps for listener in listeners) == [0, 0, 0, 300]
        assert len(set(sums)) == 1

    def test_daemonic_processes_that_open_at_once_decode_once(self, tmp_path, cache):
        paths = files(tmp_path / "in", 700)
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        processes = [
            context.Process(target=open_in_process, args=(paths, cache, queue), daemon=True) for _ in range(2)
        ]
        for process in processes:
            process.start()
        results = [queue.get() for _ in processes]
        for process in processes:
            process.join()
        assert sorted(steps for steps, _ in results) == [0, 700]
        assert len({total for _, total in results}) == 1


class TestWorkers:
    def test_a_script_without_main_guard_runs_once(self, tmp_path, cache):
        paths = files(tmp_path / "in", 700)
        (tmp_path / "list.json").write_text(json.dumps(paths))
        script = tmp_path / "script.py"
        script.write_text(
            "import json, sys\n"
            "print('started')\n"
            "from fiftyone_deepcluster.images.cache.open_images import Decode, open_images\n"
            "from fiftyone_deepcluster.core.progress import Silent\n"
            "paths = json.load(open(sys.argv[1]))\n"
            "with open_images(paths, Decode(16, 'gray'), observer=Silent(), workers=2, cache_dir=sys.argv[2])"
            " as store:\n"
            "    print(store.shape)\n"
        )
        command = [sys.executable, str(script), str(tmp_path / "list.json"), str(cache)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert output.split("\n")[:2] == ["started", "(700, 16, 16, 1)"]

    def test_threads_decode_if_no_process_can_be_started(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
        with opened(files(tmp_path / "in", 600), cache, workers=2) as store:
            np.testing.assert_array_equal(store.read(np.array([599]))[0, ..., 0], pixels_of(599))

    def test_threads_decode_if_processes_exit_at_once(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr(worker_pool, "_SERVE", "raise SystemExit(3)")
        with opened(files(tmp_path / "in", 600), cache, workers=2) as store:
            assert len(store.kept) == 600

    def test_a_crash_of_the_decoder_loses_one_image_only(self, tmp_path, cache, monkeypatch):
        # A worker that dies of one image as a decoder written in C would.
        crash = (
            "import os, json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
            "from fiftyone_deepcluster.images.cache import decode_jobs, worker_pool\n"
            "real = decode_jobs.decode_image\n"
            "def decode(ref, how):\n"
            "    if ref.path.endswith('0333.bmp'): os.abort()\n"
            "    return real(ref, how)\n"
            "decode_jobs.decode_image = decode\n"
            "worker_pool.serve()\n"
        )
        monkeypatch.setattr(worker_pool, "_SERVE", crash)
        listener = Watcher()
        with opened(files(tmp_path / "in", 600), cache, workers=2, observer=listener) as store:
            assert store.errors == {333: "the decoder process crashed"}
            assert listener.steps == 600
            np.testing.assert_array_equal(store.read(np.array([333]))[0, ..., 0], pixels_of(334))

    def test_file_names_that_are_not_utf8_reach_the_workers(self, tmp_path, cache):
        paths = files(tmp_path / "in", 600)
        odd = os.fsdecode(os.fsencode(str(tmp_path)) + b'/\xff\xfe \n"x.bmp')
        Path(paths[10]).rename(odd)
        paths[10] = odd
        with opened(paths, cache, workers=2) as store:
            assert store.errors == {}
            np.testing.assert_array_equal(store.read(np.array([10]))[0, ..., 0], pixels_of(10))


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, cache):
    (path,) = files(tmp_path / "in", 1)
    process = psutil.Process()
    before = process.memory_info().rss
    with opened([ImageRef(path)] * 400, cache, Decode(256, "rgb")) as store:
        for start in range(0, 400, 20):
            store.read(np.arange(start, start + 20))
    # The images are 79 MB.
    assert process.memory_info().rss - before < 30e6
