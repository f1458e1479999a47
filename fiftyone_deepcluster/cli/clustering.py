"""The ``cluster`` command: cluster a dataset or a folder of images, print tables."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.cli.tables import clusters_table, rounds_table
from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.option_errors import suggest
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.runs.run import Run


@dataclass(frozen=True)
class Request:
    """Parsed arguments of the command.

    Attributes:
        samples: name of a FiftyOne dataset, or a folder of images.
        view: name of a saved view of the dataset; None: the whole dataset.
        settings: keyword arguments of ``cluster`` and options of the method; only those given.
        resume: resume the run with the key instead of starting a new one.
    """

    samples: str
    view: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    resume: bool = False


def run_request(request: Request) -> Run:
    """Cluster, with a progress bar on stderr.

    Raises:
        DeepClusterError: see ``fiftyone_deepcluster.cluster``; also if dataset, folder or view does not exist.
    """
    from fiftyone_deepcluster.dataset.api import cluster, resume

    samples = find_samples(request.samples, request.view)
    if request.resume:
        settings = {name: value for name, value in request.settings.items() if name != "method"}
        return resume(samples, **settings)
    return cluster(samples, **request.settings)


def refine_request(samples: str, key: str, new_key: str | None, changes: dict[str, Any]) -> str:
    """Refine a run, with a progress bar on stderr; text with rounds, clusters, and the comparison of the two runs.

    Raises:
        DeepClusterError: see ``fiftyone_deepcluster.refine``; also if the dataset does not exist.
    """
    from fiftyone_deepcluster.dataset.refining import refine
    from fiftyone_deepcluster.dataset.results.compare import compare_runs

    dataset = find_samples(samples)
    run = refine(dataset, key, new_key=new_key, **changes)
    found = compare_runs(dataset, key, run.key)
    compared = f"{key} and {run.key} agree to NMI {found.nmi:.3f}, ARI {found.ari:.3f}."
    return "\n".join([report(run), "", compared, *found.sentences()])


def report(run: Run) -> str:
    """Text with rounds, clusters, stop reason, comparison with the baselines, and the command that opens the App."""
    truth_field = run.settings.get("truth_field")
    sizes = [(info.name, info.size) for info in run.clusters(n_exemplars=0)]
    labels: list[str | None] = [name for name, size in sizes for _ in range(size)]
    parts = [rounds_table(run.rounds), ""]
    if isinstance(truth_field, str) and run.patches_field is None:
        label, truth = _labels_and_truth(run, truth_field)
        parts.append(clusters_table(label, truth))
    else:
        parts.append(clusters_table(labels))
    parts.append("")
    record = run.record
    parts += [line for line in (record.outcome, record.verdict, *record.notes) if line]
    name = run.dataset.name
    where = f"Run {run.key} of dataset {name}."
    parts.append(f"{where} To look at it: fiftyone-deepcluster open {shlex.quote(name)}")
    return "\n".join(parts)


def find_samples(name: str, view: str | None = None) -> fo.Dataset | fo.DatasetView:
    """Load the dataset ``name``, or create one of the images in the folder ``name``.

    Raises:
        InputError: neither exists, or the dataset has no saved view ``view``.
    """
    import fiftyone as fo

    if name in fo.list_datasets():
        dataset = fo.load_dataset(name)
    elif _is_folder(name):
        dataset = _from_folder(Path(name).resolve())
    else:
        raise InputError(_not_found(name, fo.list_datasets()))
    if view is None:
        return dataset
    if view not in dataset.list_saved_views():
        views = dataset.list_saved_views()
        known = f"saved views: {', '.join(views)}" if views else "save one with dataset.save_view(name, view)"
        raise InputError(f"dataset {dataset.name!r} has no saved view {view!r}; {known}")
    return dataset.load_saved_view(view)


def _is_folder(name: str) -> bool:
    """Whether ``name`` is a folder; an empty name is not the current folder."""
    try:
        return bool(name) and Path(name).is_dir()
    except OSError:  # too long for a path
        return False


def _from_folder(folder: Path) -> fo.Dataset:
    """Persistent dataset with the folder's name; created in the first call, loaded in later calls."""
    import fiftyone as fo

    if folder.name in fo.list_datasets():
        dataset = fo.load_dataset(folder.name)
        if dataset.info.get("folder") == str(folder):
            return dataset
        raise InputError(
            f"a dataset {folder.name!r} exists, but with other images than {folder}; give the dataset's name instead "
            "of a path, or rename the folder or that dataset"
        )
    dataset = fo.Dataset.from_dir(
        dataset_dir=str(folder), dataset_type=fo.types.ImageDirectory, name=folder.name, progress=False
    )
    if len(dataset) == 0:
        dataset.delete()
        raise InputError(
            f"{folder} contains no image in a format that FiftyOne supports (JPEG, PNG, TIFF ...)"
        )
    dataset.persistent = True
    dataset.info["folder"] = str(folder)
    dataset.save()
    return dataset


def _not_found(name: str, known: list[str]) -> str:
    hint = suggest(name, known) if known else "there are no datasets yet"
    return f"{short(name)} is neither a FiftyOne dataset nor a folder; {hint}"


def _labels_and_truth(run: Run, truth_field: str) -> tuple[list[str | None], list[object]]:
    """Cluster and known class of every image of the dataset that has a cluster."""
    dataset = run.dataset
    path = truth_field
    schema = dataset.get_field(truth_field)
    if getattr(schema, "document_type", None) is not None:
        path = f"{truth_field}.label"
    labels, truth = dataset.values([f"{run.key}.label", path])
    kept = [(label, known) for label, known in zip(labels, truth, strict=True) if label is not None]
    return [label for label, _ in kept], [known for _, known in kept]
