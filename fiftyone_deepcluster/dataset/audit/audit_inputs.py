"""Labels, vectors, groups and clusters of the images to audit, read from fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.words import all_of
from fiftyone_deepcluster.dataset.io.fields import FieldNames, marked
from fiftyone_deepcluster.dataset.io.read_fields import fields_with_vectors, read_truth, read_values
from fiftyone_deepcluster.dataset.io.read_images import collect_images, root_dataset
from fiftyone_deepcluster.dataset.io.side_fields import read_groups
from fiftyone_deepcluster.dataset.io.vectors import model_vectors, stored_vectors
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.runs.references import RunNames, names_kept
from fiftyone_deepcluster.dataset.runs.run import load_run
from fiftyone_deepcluster.errors import InputError, RunError

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource


@dataclass(frozen=True)
class AuditInputs:
    """Inputs of an audit for the N images of a source, in its order.

    Attributes:
        labels: N labels, None if there is none.
        vectors: (N, D) float32, rows of NaN for images without a vector.
        groups: N groups, or None.
        clusters: N names of clusters, or None.
        order: (N,) rows, sorted by the paths of the files.
    """

    labels: list[object | None]
    vectors: NDArray[np.float32]
    groups: list[object | None] | None
    clusters: list[object | None] | None
    order: NDArray[np.int64]


def collect_labeled(
    samples: fo.core.collections.SampleCollection, label_field: str, patches_field: str | None
) -> SampleSource:
    """The images to audit: objects, if the label field has objects.

    Raises:
        ImagesError, InputError: see ``collect_images``.
    """
    import fiftyone as fo
    from fiftyone.core.patches import PatchesView

    arguments.one_name("label_field", label_field, "ground_truth")
    root = root_dataset(samples)
    if patches_field is None and not isinstance(samples, PatchesView):
        holder = label_field.split(".", maxsplit=1)[0]
        if holder in root.get_field_schema(embedded_doc_type=fo.Detections):
            patches_field = holder
    return collect_images(samples, patches_field)


def read_audit_inputs(
    source: SampleSource, settings: dict[str, Any], model: Any = None, observer: Observer | None = None
) -> AuditInputs:
    """Read what an audit needs.

    Args:
        source: the images.
        settings: ``label_field``, ``run``, ``embeddings_field`` (a list of names, or None), ``group_field``.
        model: a FiftyOne model, or the name of one, that computes the vectors.
        observer: receives the progress of the model; can cancel.

    Raises:
        InputError: a field that is missing or has other values, or no vectors are given.
        CancelledError: the observer requested cancellation.
    """
    import numpy as np

    labels = read_truth(source, settings["label_field"], "label_field")
    if all(label is None for label in labels):
        raise InputError(
            f"label_field={settings['label_field']!r} is empty for {all_of(len(source), 'image')}; give the field with "
            "the labels to audit"
        )
    field = settings["group_field"]
    groups = None if field is None else read_groups(source, field)
    paths = np.array([image.path for image in source.images])
    return AuditInputs(
        labels,
        _vectors(source, settings, model, observer),
        groups,
        _clusters(source, settings["run"]),
        np.argsort(paths, kind="stable"),
    )


def read_followed(
    source: SampleSource,
    settings: dict[str, Any],
    others: RunNames,
    model: Any = None,
    observer: Observer | None = None,
) -> AuditInputs:
    """What an audit needs; its settings follow a run that is renamed meanwhile.

    The inputs are then read again, since only a part of the values of the run may have been read.

    Args:
        source: the images.
        settings: as in ``read_audit_inputs``.
        others: names of all runs when the settings were given or read.
        model: as in ``read_audit_inputs``.
        observer: as in ``read_audit_inputs``.

    Raises:
        InputError, CancelledError: as in ``read_audit_inputs``.
    """
    followed = settings
    while True:
        failure: Exception | None = None
        try:
            inputs = read_audit_inputs(source, followed, model, observer)
        except (InputError, RunError) as error:
            failure = error
        with names_kept(source.dataset):
            now = others.follow(source.dataset, settings, source.patches_field)
        if now != followed:
            followed = now
        elif failure is not None:
            raise failure
        else:
            return inputs


def field_list(embeddings_field: str | Sequence[str] | None) -> list[str] | None:
    """Names of the fields with vectors, or None."""
    if embeddings_field is None:
        return None
    return arguments.names("embeddings_field", embeddings_field, "embedding", ordered=True)


def _vectors(
    source: SampleSource, settings: dict[str, Any], model: Any, observer: Observer | None
) -> NDArray[np.float32]:
    """(N, D) the vectors of each image from one or several sources, each at mean length 1, concatenated."""
    import numpy as np

    if model is not None:
        return model_vectors(source, model, observer)[0]
    parts = []
    if settings["run"] is not None:
        run = load_run(source.dataset, settings["run"])
        if run.patches_field != source.patches_field:
            raise InputError(
                f"run={run.key!r} clustered {run.patches_field or 'whole images'}, but the labels are those of "
                f"{source.patches_field or 'whole images'}; give a run of the same images"
            )
        check_there(run, "embedding")
        parts.append(stored_vectors(source, f"{run.key}_embedding")[0])
    parts += [stored_vectors(source, field)[0] for field in settings["embeddings_field"] or ()]
    if not parts:
        raise InputError(
            "an audit needs vectors of the images: give run, the key of a clustering run; embeddings_field, a field "
            f"with vectors; or model, a FiftyOne model. {_choices(source)}"
        )
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part / _mean_length(part) for part in parts], axis=1)


def _mean_length(vectors: NDArray[np.float32]) -> np.float32:
    """Root mean square length of the vectors of finite numbers; 1 if there are none."""
    import numpy as np

    finite = vectors[np.isfinite(vectors).all(axis=1)]
    return np.float32(np.sqrt(np.square(finite).sum(axis=1).mean()) if len(finite) else 1)


def _choices(source: SampleSource) -> str:
    runs = [run.key for run in marked(source.dataset) if run.kind == "clusters"]
    fields = fields_with_vectors(source)
    return f"Runs of this dataset: {', '.join(runs) or 'none'}; fields with vectors: {', '.join(fields) or 'none'}"


def _clusters(source: SampleSource, key: str | None) -> list[object | None] | None:
    if key is None:
        return None
    return read_values(source, FieldNames(key, source.patches_field).view_path("label"))
