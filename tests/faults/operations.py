"""The operations on runs that are killed, and all that ``python -m tests.faults`` walks through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults.audits import AUDITS
from tests.faults.jobs import JOBS, dicom_files
from tests.faults.operation import FROZEN, LEARNED, Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo


def _frozen(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.cluster(dataset, key="dc", **FROZEN)


def _reviewed(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    _frozen(dataset)
    review = fdc.review(dataset, "dc")
    review.rename("cluster-00", "first")
    review.label_cluster("first", "person", "one")


def _labeled_by_hand(dataset: fo.Dataset) -> None:
    """A run that may be replaced, as it has no edits, and labels that a person gave."""
    import fiftyone as fo

    _frozen(dataset)
    first = dataset.match({"dc.label": "cluster-00"})
    first.set_values("person", [fo.Classification(label="one") for _ in first])


def _merged(dataset: fo.Dataset) -> None:
    _frozen(dataset)
    _merge(dataset)


def _labeled(dataset: fo.Dataset) -> None:
    _frozen(dataset)
    _label(dataset)


def _nothing(dataset: fo.Dataset) -> None:
    """Images and human labels alone."""


def _learned(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.cluster(dataset, key="dc", compute_brain=False, **LEARNED)


def _cluster(dataset: fo.Dataset, **more: Any) -> None:
    import fiftyone_deepcluster as fdc

    fdc.cluster(dataset, key="dc", **LEARNED, **more)


def _overwrite(dataset: fo.Dataset) -> None:
    _cluster(dataset, overwrite=True)


def _resume_or(again: Callable[[fo.Dataset], object]) -> Callable[[fo.Dataset, str], object]:
    def finish(dataset: fo.Dataset, states: str) -> None:
        import fiftyone_deepcluster as fdc

        if states.startswith("interrupted"):
            fdc.resume(dataset, "dc", progress=False)
        elif states.startswith("absent") or fdc.load_run(dataset, "dc").options.name == "frozen":
            again(dataset)

    return finish


def _delete(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.delete_run(dataset, "dc")


def _rename(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.rename_run(dataset, "dc", "new")


def _if_finished(act: Callable[[fo.Dataset], object]) -> Callable[[fo.Dataset, str], object]:
    def finish(dataset: fo.Dataset, states: str) -> None:
        if states.startswith("finished"):
            act(dataset)

    return finish


def _merge(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.review(dataset, "dc").merge(["cluster-00", "cluster-01"], into="both")


def _label(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    review = fdc.review(dataset, "dc")
    review.label_cluster("cluster-00", "person", "zero")


def _undo(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.review(dataset, "dc").undo()


def _undo_all(dataset: fo.Dataset, _: str) -> None:
    import fiftyone_deepcluster as fdc

    review = fdc.review(dataset, "dc")
    if any(not edit.undone for edit in review.log()):
        review.undo()


def _tree(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.build_tree(dataset, "dc")


def origin_of(dataset: fo.Dataset) -> fo.Dataset:
    """The dataset with the run that is assigned."""
    import fiftyone as fo

    return fo.load_dataset(f"{dataset.name}-origin")


def _make_origin(dataset: fo.Dataset) -> None:
    _frozen(dataset.clone(f"{dataset.name}-origin", persistent=True))


def _assign(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.assign(dataset, "dc", from_dataset=origin_of(dataset))


def _objects(dataset: fo.Dataset) -> None:
    """A run on one object of each image."""
    import fiftyone as fo

    import fiftyone_deepcluster as fdc

    boxes = [
        fo.Detections(detections=[fo.Detection(bounding_box=[0, 0, 1, 1], label="digit")]) for _ in dataset
    ]
    dataset.set_values("objects", boxes)
    fdc.cluster(dataset, key="dc", patches_field="objects", **FROZEN)


def _partly_clustered(dataset: fo.Dataset) -> None:
    """A run on two thirds of the images, of which two clusters were merged."""
    import fiftyone_deepcluster as fdc

    fdc.cluster(dataset[: 2 * len(dataset) // 3], key="dc", compute_brain=False, **FROZEN)
    _merge(dataset)


def _assign_more(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.assign(dataset, "dc")


def _assign_again(dataset: fo.Dataset, states: str) -> None:
    _assign_more(dataset)
    _undo_all(dataset, states)


def _index(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.index_neighbors(dataset, "dc")


def _index_again(dataset: fo.Dataset, _: str) -> None:
    """What is stored of neighbors is whole, or nothing; and can be computed again."""
    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors

    run, image = fdc.load_run(dataset, "dc"), dataset.first().id
    before = indexed_neighbors(run, image)
    _index(dataset)
    found = indexed_neighbors(run, image)
    if not found or before not in (None, found):
        raise ValueError(f"neighbors {before}, then {found}")


def _half_reviewed(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.cluster(dataset, key="dc", compute_brain=False, **LEARNED | {"rounds": 1})
    review = fdc.review(dataset, "dc")
    review.mark_reviewed(review.names()[:1])


def _refine(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.refine(dataset, "dc", new_key="new", progress=False, compute_brain=False, rounds=2)


def _refine_or_resume(dataset: fo.Dataset, states: str) -> None:
    import fiftyone_deepcluster as fdc

    if states.endswith("interrupted"):
        fdc.resume(dataset, "new", progress=False, compute_brain=False)
    elif states.endswith("absent"):
        _refine(dataset)


def _add_dicom(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.add_dicom(dicom_files(), dataset, side=32, workers=1, progress=False)


_RUNS = (
    Operation(
        "cluster", _nothing, _cluster,
        ("absent absent", "interrupted absent", "finished absent"), _resume_or(_cluster), "finished absent",
    ),
    Operation(
        "overwrite", _labeled_by_hand, _overwrite,
        ("interrupted absent", "finished absent"), _resume_or(_overwrite), "finished absent",
    ),
    Operation("delete", _reviewed, _delete,
        ("absent absent", "finished absent"), _if_finished(_delete), "absent absent"),
    Operation("rename", _reviewed, _rename,
        ("absent finished", "finished absent"), _if_finished(_rename), "absent finished"),
    Operation("merge", _frozen, _merge, ("finished absent",), _undo_all, "finished absent"),
    Operation("undo of a merge", _merged, _undo, ("finished absent",), _undo_all, "finished absent"),
    Operation("label", _frozen, _label, ("finished absent",), _undo_all, "finished absent"),
    Operation("undo of labels", _labeled, _undo, ("finished absent",), _undo_all, "finished absent"),
    Operation("rename of objects", _objects, _rename, ("absent finished", "finished absent"),
        _if_finished(_rename), "absent finished", patches_field="objects"),
    Operation("delete of objects", _objects, _delete, ("absent absent", "finished absent"),
        _if_finished(_delete), "absent absent", patches_field="objects"),
    Operation("tree", _learned, _tree, ("finished absent",), _if_finished(_tree), "finished absent", maps=False),
    Operation("neighbors", _learned, _index, ("finished absent",), _index_again, "finished absent", maps=False),
    Operation("assign", _make_origin, _assign,
        ("absent absent", "finished absent"), lambda dataset, _: _assign(dataset), "finished absent", maps=False),
    Operation("assign more", _partly_clustered, _assign_more,
        ("finished absent",), _assign_again, "finished absent", maps=False),
    Operation("refine", _half_reviewed, _refine,
        ("finished absent", "finished interrupted", "finished finished"), _refine_or_resume, "finished finished",
        maps=False),
    Operation("import of DICOM files", _nothing, _add_dicom,
        ("absent absent",), lambda dataset, _: _add_dicom(dataset), "absent absent"),
)  # fmt: skip

OPERATIONS = {operation.group: operation for operation in (*_RUNS, *JOBS, *AUDITS)}
