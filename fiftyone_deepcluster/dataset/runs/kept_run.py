"""Interface of a stored run, for modules that ``runs.run`` imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.methods.base import Options


class KeptRun(Protocol):
    """Attributes of a run that edits and views of its clusters need; ``runs.run.Run`` has them."""

    @property
    def key(self) -> str:
        """Key of the run."""

    @property
    def dataset(self) -> fo.Dataset:
        """Dataset that the run is stored on."""

    @property
    def fields(self) -> FieldNames:
        """Names of its fields."""

    @property
    def options(self) -> Options:
        """Options of the method, as given."""

    @property
    def uid(self) -> str:
        """Unique id; unchanged by renaming and cloning."""
