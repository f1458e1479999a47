"""Files are there whole or not at all, and an error names the path, the need and the way out."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from fiftyone_deepcluster.core.disk import disk_errors, folder_problem, new_file, size_text
from fiftyone_deepcluster.errors import DeepClusterError, DiskError

WAY = {"after": "call again", "elsewhere": "give another folder"}


def write(path: Path, content: bytes = b"new") -> None:
    with new_file(path, "the result", need=12_345, **WAY) as file:
        file.write(content)


def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, at_work = tmp_path / f"file.{dead.pid}.partial", tmp_path / "file.1.partial"
    for path in (left, at_work):
        path.write_bytes(b"half")
    write(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {"file", at_work.name}


def test_a_file_is_replaced_and_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write(path, b"old")
    write(path)
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    write(tmp_path / "file", b"old")

    def half():
        with new_file(tmp_path / "file", "the result", **WAY) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
    with pytest.raises(RuntimeError), new_file(tmp_path / "new" / "file", "the result", **WAY):
        raise RuntimeError
    assert not (tmp_path / "new").exists()


def test_a_full_disk(small_disk):
    disk = small_disk(65_536)
    write(disk.folder / "file", b"old")
    with pytest.raises(DiskError) as caught:
        write(disk.folder / "file", bytes(100_000))
    assert str(caught.value) == (
        f"the result {disk.folder / 'file'} cannot be written: No space left on device (12.3 kB needed, 61.4 kB free); "
        "free some space there and call again, or give another folder"
    )
    assert [path.read_bytes() for path in disk.folder.iterdir()] == [b"old"]


def test_a_read_only_disk(small_disk):
    disk = small_disk(65_536)
    disk.read_only()
    with pytest.raises(
        DiskError, match="Read-only file system; make it writable and call again, or give another"
    ):
        write(disk.folder / "file")
    assert folder_problem(disk.folder / "new") == f"{disk.folder} is not writable"


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        DiskError, match=rf"{tmp_path / 'file'} is a file; move that file away and call again"
    ):
        write(tmp_path / "file" / "result")
    assert folder_problem(tmp_path / "file" / "x") == f"{tmp_path / 'file'} is a file"
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskError, match="Is a directory; move that folder away"):
        write(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_is_gone(tmp_path):
    with (
        pytest.raises(DiskError, match="No such file or directory; restore the folder"),
        new_file(tmp_path / "a" / "file", "the result", **WAY),
    ):
        (tmp_path / "a").rename(tmp_path / "b")


LIMITED = """
import resource, sys
from pathlib import Path
from fiftyone_deepcluster.core.disk import new_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    with new_file(Path(sys.argv[1]), "the result", after="call again", need=2000) as file:
        file.write(bytes(2000))
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_limit_of_the_process(tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "file")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.startswith(
        f"DiskError the result {tmp_path / 'file'} cannot be written: File too large (2.0 kB needed"
    )
    assert said.endswith("raise the limit of file sizes (ulimit -f) and call again\n")
    assert list(tmp_path.iterdir()) == []


def test_paths_that_no_file_system_takes(tmp_path):
    assert folder_problem(tmp_path / "new" / "newer") is None
    assert folder_problem(tmp_path / ("x" * 300)) == "File name too long"
    with pytest.raises(DiskError, match="File name too long; choose a shorter path"):
        write(tmp_path / ("x" * 300))


def test_other_errors_pass():
    with pytest.raises(KeyError), disk_errors(Path("x"), "the result", **WAY):
        raise KeyError
    with pytest.raises(DiskError, match="inner"), disk_errors(Path("x"), "the result", **WAY):
        raise DiskError("y", "inner", "way")


def test_the_error_survives_pickle():
    error = pickle.loads(pickle.dumps(DiskError("path", "problem", "way")))
    assert (str(error), error.path, error.problem, error.way) == ("problem and way", "path", "problem", "way")
    assert isinstance(error, OSError)
    assert isinstance(error, DeepClusterError)


def test_sizes_in_words():
    assert [size_text(n) for n in (0, 12_345, 12e6, 1.5e9)] == ["0.0 kB", "12.3 kB", "12.0 MB", "1.5 GB"]
