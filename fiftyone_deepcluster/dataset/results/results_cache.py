"""Cache of analysis results of a run, stored beside its network for the App: scores, tables, images.

Results are stored in the run's folder, so they are deleted and renamed with the run. Each is stored with the state of
the run, so that outdated results of a run that was resumed are not shown.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.disk import disk_errors, is_readable_file, new_file
from fiftyone_deepcluster.dataset.runs import run_files

if TYPE_CHECKING:
    import fiftyone as fo
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.runs.run import Run

_FOLDER = "learned"
_WHAT = "the result"


def has_findings(dataset: fo.Dataset, key: str, name: str) -> bool:
    """Whether results are stored under a name, possibly outdated ones; cheaper than ``Findings.load``."""
    return is_readable_file(_file(run_files.run_dir(dataset, key) / _FOLDER, name))


class Findings:
    """Stored analysis results of one run.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self._place = run_files.run_dir(run.dataset, run.key) / _FOLDER
        self._state = f"{run.uid}:{len(run.rounds)}"

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Store JSON values under a name, replacing earlier ones.

        Raises:
            DiskError: the run's folder cannot be written; earlier values are kept.
        """
        text = json.dumps({"state": self._state, "content": content}).encode()
        path = _file(self._place, name)
        with new_file(path, _WHAT, after="call again", elsewhere=run_files.ELSEWHERE, need=len(text)) as file:
            file.write(text)

    def load(self, name: str) -> dict[str, Any] | None:
        """Values stored under a name; None if this user can read none, or if the run was resumed since."""
        try:
            found = json.loads(_file(self._place, name).read_text())
            content: dict[str, Any] | None = found["content"] if found["state"] == self._state else None
        except (OSError, ValueError, KeyError, TypeError):  # none, of another user, or damaged
            return None
        return content

    def save_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Store arrays under a name; none if the folder cannot be written."""
        import numpy as np

        with self.new_folder(name, sum(values.nbytes for values in arrays.values())) as folder:
            for part, values in arrays.items():
                np.save(folder / f"{part}.npy", values, allow_pickle=False)
            self.save(name, {"parts": list(arrays)})

    def load_arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        """Arrays stored under a name, memory-mapped; None as in ``load``."""
        import numpy as np

        found = self.load(name)
        if found is None:
            return None
        folder = self._place / name
        try:
            return {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in found["parts"]}
        except (OSError, EOFError, ValueError, KeyError, TypeError):  # of another user, or damaged
            return None

    def path(self, name: str, file: str) -> Path:
        """Current path of a file in the folder of a name, which moves when the run is renamed."""
        return self._place / name / file

    @contextmanager
    def new_folder(self, name: str, need: int | None = None) -> Iterator[Path]:
        """An empty folder for the files of a name, which are removed if the block fails.

        Earlier results under the name are deleted.

        Args:
            name: name of the results.
            need: bytes needed, if known.

        Raises:
            DiskError: the run's folder cannot be written.
        """
        folder = self._place / name
        with disk_errors(folder, _WHAT, after="call again", elsewhere=run_files.ELSEWHERE, need=need):
            try:
                _file(self._place, name).unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                yield folder
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):  # it holds other results
                    self._place.rmdir()
                raise


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
