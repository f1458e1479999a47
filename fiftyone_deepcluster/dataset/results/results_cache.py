"""What was found out about a run afterwards, kept beside its network for the App: figures, tables, pictures.

Everything lies in the run's folder, so it goes and is renamed with the run; and it carries the state of the run
that it was made of, so that nothing is shown of a run that went on since.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.runs import storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.runs.run import Run

_FOLDER = "learned"


class Findings:
    """The findings of one run.

    Args:
        run: that they are about.
    """

    def __init__(self, run: Run) -> None:
        self._place = storage.run_dir(run.dataset, run.key) / _FOLDER
        self._state = f"{run.uid}:{len(run.rounds)}"

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Keep plain values under a name, in place of what was there."""
        self._place.mkdir(parents=True, exist_ok=True)
        partial = self._place / f"{name}.partial"
        partial.write_text(json.dumps({"state": self._state, "content": content}))
        partial.replace(self._place / f"{name}.json")

    def load(self, name: str) -> dict[str, Any] | None:
        """What was kept under a name; None where there is nothing, or the run went on since."""
        try:
            found: dict[str, Any] = json.loads((self._place / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return found["content"] if found["state"] == self._state else None

    def save_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep arrays under a name."""
        import numpy as np

        folder = self.folder(name)
        for part, values in arrays.items():
            np.save(folder / f"{part}.npy", values, allow_pickle=False)
        self.save(name, {"parts": list(arrays)})

    def load_arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The arrays kept under a name, read from the disk as they are looked at; None as in ``load``."""
        import numpy as np

        found = self.load(name)
        if found is None:
            return None
        folder = self._place / name
        return {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in found["parts"]}

    def path(self, name: str, file: str) -> Path:
        """A file that was written to the folder of a name; the run may have been renamed since."""
        return self._place / name / file

    def folder(self, name: str) -> Path:
        """An empty folder for the files of a name; what was kept under it is forgotten."""
        (self._place / f"{name}.json").unlink(missing_ok=True)
        folder = self._place / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder
