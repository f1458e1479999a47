"""A validated call, and how it follows runs that are renamed before it is executed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.io.fields import FieldNames
from fiftyone_deepcluster.dataset.io.inputs import Inputs, read_inputs
from fiftyone_deepcluster.dataset.io.vectors import field_names, model_name
from fiftyone_deepcluster.dataset.runs import intents, run_files, storage
from fiftyone_deepcluster.errors import RunError
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.runs.references import RunNames
    from fiftyone_deepcluster.methods.base import Options


@dataclass(frozen=True)
class CheckedCall:
    """A validated call of ``cluster``, ``refine`` or ``resume``.

    Attributes:
        source: the images.
        key: key of the run.
        options: options of the method.
        settings: other arguments of the call: truth_field, media_field, embeddings_field, model, half_precision; for
            ``refine`` also the id of the refined run, and the weight of the reviewed images.
        inputs: inputs read from the dataset besides the images.
        others: names of all runs when the settings were given or read, which follow renames until the job is stored.
        model: a FiftyOne model, or the name of one, that computes the vectors; or None.
        replaces: whether an existing run under this key may be replaced.
        compute_brain: whether to compute the brain runs.
        folder: folder with the checkpoint to resume from; None for a new run.
        uid: unique id of the run; kept when it is resumed.
        decided: for ``refine``, what the review says about the images.
        again: for ``resume``, prepares the call again once the run is locked; returns it if nothing has changed.
    """

    source: SampleSource
    key: str
    options: Options
    settings: dict[str, object]
    inputs: Inputs
    others: RunNames
    model: Any = None
    replaces: bool = False
    compute_brain: bool = True
    folder: Path | None = None
    uid: str = field(default_factory=storage.new_uid)
    decided: run_files.Decided | None = None
    again: Callable[[CheckedCall], CheckedCall] | None = None

    @property
    def dataset(self) -> fo.Dataset:
        """Dataset that the run is stored on."""
        return self.source.dataset

    @property
    def names(self) -> FieldNames:
        """Names of its fields."""
        return FieldNames(self.key, self.source.patches_field)

    @property
    def intent(self) -> intents.Intent:
        """The intent that is stored while the results are written."""
        return intents.Intent("write", self.key, self.uid, self.source.patches_field)

    @property
    def job(self) -> run_files.ClusterJob:
        """The job to store in the folder during the run; its header is stored with the run."""
        source, options = self.source, self.options.as_given()
        header = storage.RunHeader(
            self.options.name, options, self.settings, source.patches_field, len(source), self.uid
        )
        return run_files.ClusterJob(header, source.ids, self.decided)


def settings_of(
    *,
    truth_field: str | None = None,
    media_field: str | None = None,
    embeddings_field: str | list[str] | None = None,
    model: Any = None,
    half_precision: bool = False,
) -> dict[str, object]:
    """The arguments of ``cluster`` that are stored beside the options.

    Raises:
        InputError: ``embeddings_field`` or ``model`` cannot be what it is.
    """
    return {
        "truth_field": truth_field,
        "media_field": media_field,
        "embeddings_field": field_names(embeddings_field),
        "model": model_name(model),
        "half_precision": half_precision,
    }


def followed(call: CheckedCall) -> CheckedCall:
    """The call with the names that runs have now; what is renamed while it is read may have been read in part."""
    given, where = call.options.as_given(), call.source.patches_field
    settings, options = (call.others.follow(call.dataset, values, where) for values in (call.settings, given))
    return _changed(call, settings, options)


def as_begun(call: CheckedCall, folder: Path) -> CheckedCall:
    """The call of another process with the names and options with which the first process has begun it.

    Args:
        call: the call as this process prepared it.
        folder: folder in which the first process has stored the job.

    Raises:
        RunError: the first process has begun another call, as after the run was replaced meanwhile.
    """
    job, given = run_files.load_job(folder), call.job
    if job is None or (job.header.method, job.ids, job.decided) != (
        given.header.method,
        given.ids,
        given.decided,
    ):
        raise RunError(
            f"run {call.key!r} was changed by another call while the processes of this one began; start them again"
        )
    return _changed(call, job.header.settings, job.header.options)


def _changed(call: CheckedCall, settings: dict[str, object], options: dict[str, object]) -> CheckedCall:
    if (settings, options) == (call.settings, call.options.as_given()):
        return call
    chosen = parse_options(call.options.name, options)
    return replace(call, settings=settings, options=chosen, inputs=read_inputs(call.source, chosen, settings))
