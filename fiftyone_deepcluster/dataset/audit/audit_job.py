"""Execution of an audit: from inputs to fields and record; either all is written, or nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.progress import observer_or_silent
from fiftyone_deepcluster.dataset.audit.audit_columns import AuditColumns, make_record
from fiftyone_deepcluster.dataset.display.sidebar import add_group
from fiftyone_deepcluster.dataset.io.lost_fields import declare_lost
from fiftyone_deepcluster.dataset.io.write import write
from fiftyone_deepcluster.dataset.runs import intents, storage
from fiftyone_deepcluster.dataset.runs.database import DatabaseWatch
from fiftyone_deepcluster.dataset.runs.references import names_kept
from fiftyone_deepcluster.errors import RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.neighbors import NeighborGraph
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.audit.audit_inputs import AuditInputs
    from fiftyone_deepcluster.dataset.audit.audit_record import AuditRecord
    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.runs.references import RunNames


@dataclass(frozen=True)
class DecidedLabels:
    """What was decided about the N labels of an audit so far.

    Attributes:
        labels: N labels as decided, else as given.
        before: N labels as given.
        certain: (N,) bool, labels that a person has confirmed or given.
        left_out: (N,) bool, images that were excluded, or of which the person is not sure.
        decisions: N decisions as stored, None where there is none.
        graph: neighbors found when the scores were last fitted.
    """

    labels: list[object | None]
    before: list[object | None]
    certain: NDArray[np.bool_]
    left_out: NDArray[np.bool_]
    decisions: list[str | None]
    graph: NeighborGraph | None = None


@dataclass(frozen=True)
class Judgment:
    """Result of an audit, ready to be written.

    Attributes:
        columns: values of the fields.
        record: its tables.
    """

    columns: AuditColumns
    record: AuditRecord


def judge(
    source: SampleSource,
    inputs: AuditInputs,
    seed: int,
    observer: Observer | None,
    decided: DecidedLabels | None = None,
    *,
    device: str = "auto",
) -> Judgment:
    """Compute fields and record of an audit; nothing is written.

    Raises:
        InputError: labels or vectors that cannot be audited.
        OptionsError: no such device.
        CancelledError: the observer requested cancellation.
    """
    from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
    from fiftyone_deepcluster.analysis.label_audit.labeled_set import KnownSides

    started = time.perf_counter()
    known = KnownSides(groups=inputs.groups, clusters=inputs.clusters, order=inputs.order)
    decisions: list[str | None] = [None] * len(source)
    labels = inputs.labels
    if decided is not None:
        known = replace(
            known,
            certain=decided.certain,
            before=decided.before,
            left_out=decided.left_out,
            graph=decided.graph,
        )
        labels, decisions = decided.labels, decided.decisions
    audit = audit_vectors(inputs.vectors, labels, known=known, seed=seed, device=device, observer=observer)
    n_decided = sum(decision is not None for decision in decisions)
    record = make_record(audit, inputs, n_decided, time.perf_counter() - started)
    return Judgment(AuditColumns(audit, source.ids, decisions), record)


def store_audit(
    source: SampleSource,
    names: FieldNames,
    judged: Judgment,
    settings: dict[str, Any],
    *,
    others: RunNames,
    observer: Observer | None = None,
) -> None:
    """Declare and write the fields, then store the audit. The caller holds the lock of the key.

    Args:
        source: the images.
        names: names of the fields.
        judged: the result.
        settings: arguments of the call, as given.
        others: names of all runs when the settings were given, which follow if one was renamed since.
        observer: receives progress events.

    Raises:
        RunError: the database was restarted meanwhile, and may have lost some of it; nothing is left.
    """
    watch = DatabaseWatch()
    dataset, where = source.dataset, source.patches_field
    header = storage.RunHeader(storage.AUDIT_METHOD, {}, settings, where, len(source))
    intent = intents.Intent("audit", names.key, header.uid, names.patches_field, kind="audit")
    watcher = observer_or_silent(observer)
    watcher.phase("write", 1)
    with intents.writing(dataset, intent):
        write(source, names, judged.columns)
        declare_lost(dataset, names)
        add_group(dataset, names)
        _check_kept(names, watch)
        with names_kept(dataset):
            header = replace(header, settings=others.follow(dataset, settings, where))
            storage.register_run(source, names.key, header, judged.record)
        _check_kept(names, watch)
    watcher.advance(1)


def _check_kept(names: FieldNames, watch: DatabaseWatch) -> None:
    if not watch.all_kept():
        raise RunError(
            f"the database was restarted while audit {names.key!r} was written, and may have lost some of it; call "
            "audit_labels again"
        )
