"""The audit of labels and the decisions about it that are killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.operation import FROZEN, N_FILES, Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.audit.label_review import LabelReview

_KEYS = ("audit",)
_THERE, _ABSENT = "finished", "absent"
_GIVEN = "parity"


def _give_labels(dataset: fo.Dataset) -> None:
    """More images, pixels as vectors, and labels in doubt, of which two are wrong."""
    import fiftyone as fo
    import numpy as np
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder = Path(dataset.first().filepath).parent
    more = sorted(folder.iterdir())[len(dataset) : N_FILES]
    dataset.add_samples([fo.Sample(str(file)) for file in more], progress=False)
    odd = digits.target[:N_FILES] % 2 == 1
    odd[[3, 8]] ^= True
    dataset.add_sample_field("pixels", fo.VectorField)
    dataset.set_values("pixels", list(digits.data[:N_FILES].astype(np.float32)))
    dataset.set_values(_GIVEN, [fo.Classification(label="odd" if each else "even") for each in odd])


def _audit(dataset: fo.Dataset, **more: Any) -> None:
    import fiftyone_deepcluster as fdc

    fdc.audit_labels(dataset, _GIVEN, embeddings_field="pixels", **more)


def _audited(dataset: fo.Dataset) -> None:
    _give_labels(dataset)
    _audit(dataset)


def _review(dataset: fo.Dataset) -> LabelReview:
    import fiftyone_deepcluster as fdc

    return fdc.review_labels(dataset, refit_every=0)


def _decide(dataset: fo.Dataset) -> None:
    review = _review(dataset)
    review.decide([item["id"] for item in review.queue(3)["items"]], "other", label="neither")


def _decided(dataset: fo.Dataset) -> None:
    _audited(dataset)
    _decide(dataset)


def _accept(dataset: fo.Dataset) -> None:
    _review(dataset).accept_above(1e-6)


def _commit(field: str | None) -> Callable[[fo.Dataset], object]:
    return lambda dataset: _review(dataset).commit(field)


def _committed(dataset: fo.Dataset) -> None:
    _decided(dataset)
    _review(dataset).commit("person")


def _table_of(dataset: fo.Dataset) -> Path:
    return Path(dataset.first().filepath).parents[1] / f"{dataset.name}.csv"


def _exported(dataset: fo.Dataset) -> None:
    """An audit without decisions, and a table with some."""
    _decided(dataset)
    _review(dataset).export(_table_of(dataset))
    _undo(dataset)


def _import(dataset: fo.Dataset) -> None:
    _review(dataset).import_decisions(_table_of(dataset))


def _run_audited(dataset: fo.Dataset) -> None:
    """A run, and an audit with its vectors."""
    import fiftyone_deepcluster as fdc

    _give_labels(dataset)
    fdc.cluster(dataset, key="dc", compute_brain=False, **FROZEN)
    fdc.audit_labels(dataset, _GIVEN, run="dc")


def _rename(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.rename_run(dataset, "dc", "new")


def _rename_and_refit(dataset: fo.Dataset, states: str) -> None:
    if states.startswith("finished"):
        _rename(dataset)
    _refit(dataset)


def _undo(dataset: fo.Dataset) -> None:
    _review(dataset).undo()


def _undo_all(dataset: fo.Dataset, _: str) -> None:
    _review(dataset).undo(9)


def _refit(dataset: fo.Dataset) -> None:
    _review(dataset).refit()


def _audit_anew(dataset: fo.Dataset) -> None:
    _audit(dataset, overwrite=True)


def _audit_unless_done(dataset: fo.Dataset, states: str) -> None:
    if states == _ABSENT or _review(dataset).log():  # the old one has decisions
        _audit_anew(dataset)


def _delete(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.delete_audit(dataset, "audit")


def _delete_if_there(dataset: fo.Dataset, states: str) -> None:
    if states == _THERE:
        _delete(dataset)


def _edit(
    group: str, prepare: Callable[[fo.Dataset], object], act: Callable[[fo.Dataset], object]
) -> Operation:
    """An edit of the decisions, which is taken back in the end, with all edits before it."""
    return Operation(group, prepare, act, (_THERE,), _undo_all, _THERE, _KEYS, "audit")


AUDITS = (
    Operation("audit", _give_labels, _audit, (_ABSENT, _THERE), _audit_unless_done, _THERE, _KEYS, "audit"),
    Operation(
        "audit again", _decided, _audit_anew, (_ABSENT, _THERE), _audit_unless_done, _THERE, _KEYS, "audit"
    ),
    Operation(
        "deletion of an audit",
        _decided,
        _delete,
        (_ABSENT, _THERE),
        _delete_if_there,
        _ABSENT,
        _KEYS,
        "audit",
    ),
    _edit("decide", _audited, _decide),
    _edit("accept_above", _audited, _accept),
    _edit("commit to a new field", _decided, _commit("person")),
    _edit("commit to the audited field", _decided, _commit(None)),
    _edit("import of decisions", _exported, _import),
    Operation(
        "rename of an audited run",
        _run_audited,
        _rename,
        ("absent finished", "finished absent"),
        _rename_and_refit,
        "absent finished",
        maps=False,
    ),
    _edit("undo of decisions", _decided, _undo),
    _edit("undo of a commit", _committed, _undo),
    Operation(
        "refit",
        _decided,
        _refit,
        (_THERE, "interrupted"),  # the audit says that scores of two fits are mixed
        lambda dataset, _: _refit(dataset),
        _THERE,
        _KEYS,
        "audit",
    ),
)
