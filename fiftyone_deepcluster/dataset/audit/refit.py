"""Fit the scores of an audit again, with the decisions made so far."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.devices import choose_compute
from fiftyone_deepcluster.core.process_state import first_time
from fiftyone_deepcluster.dataset.audit.audit_inputs import AuditInputs, read_followed
from fiftyone_deepcluster.dataset.audit.audit_job import DecidedLabels, judge
from fiftyone_deepcluster.dataset.audit.decisions import read_decision
from fiftyone_deepcluster.dataset.io.read_fields import read_values
from fiftyone_deepcluster.dataset.io.read_images import all_images, collect_images
from fiftyone_deepcluster.dataset.io.write import write
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.edit_lock import hold
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.dataset.runs.database import until_kept
from fiftyone_deepcluster.dataset.runs.references import RunNames
from fiftyone_deepcluster.errors import InputError, OptionsError, RunError, RunNotFoundError

if TYPE_CHECKING:
    from fiftyone_deepcluster.analysis.label_audit.neighbors import NeighborGraph
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.audit.audit_columns import AuditColumns
    from fiftyone_deepcluster.dataset.audit.audit_record import AuditRecord
    from fiftyone_deepcluster.dataset.io.source import SampleSource

logger = logging.getLogger(__name__)


@dataclass
class Refit:
    """Fits the scores of one audit again, any number of times; vectors and neighbors are read only once.

    Attributes:
        source: images of the audit; None until they are read.
        inputs: their labels, vectors, groups, clusters.
        graph: their neighbors.
    """

    source: SampleSource | None = None
    inputs: AuditInputs | None = None
    graph: NeighborGraph | None = None

    def run(self, audit: Audit, observer: Observer | None) -> None:
        """Fit the scores of all labels again and write them; decisions and labels are unchanged.

        Raises:
            RunError: the vectors of the audit are no longer there.
        """
        if self.source is None or self.inputs is None:
            self.source, self.inputs = _read(audit, observer)
        source, inputs = self.source, self.inputs
        given = read_values(source, audit.fields.view_path("given"))
        stored = read_values(source, audit.fields.view_path("decision"))
        decided = _decided(given, stored, self.graph)
        seed, device = int(audit.settings["seed"]), _device(audit)
        judged = judge(source, inputs, seed, observer, decided, device=device)
        self.graph = judged.columns.audit.graph
        record = judged.record.model_copy(update={"n_fits": audit.record.n_fits + 1})
        with _held(audit):
            _mark_incomplete(audit)
        until_kept(
            audit.dataset,
            lambda: write(source, audit.fields, _Scores(judged.columns), lambda: _held(audit)),
        )
        with _held(audit):
            _replace(audit, record)


@contextmanager
def _held(audit: Audit) -> Iterator[None]:
    """Hold the lock of the audit for one batch; between batches, others may decide labels or delete the audit."""
    with hold(audit):
        check_there(audit)
        yield


def _mark_incomplete(audit: Audit) -> None:
    """Mark the stored record as incomplete: until all scores are written, those of two fits are mixed."""
    _replace(audit, audit.record.model_copy(update={"complete": False}))


def _replace(audit: Audit, record: AuditRecord) -> None:
    content = record.model_dump(mode="json")
    until_kept(audit.dataset, lambda: storage.replace_record(audit.dataset, audit.key, content))


@dataclass(frozen=True)
class _Scores:
    """Values that a refit writes: neither the given labels nor the decisions."""

    columns: AuditColumns

    def __len__(self) -> int:
        return len(self.columns)

    def values(self, rows: slice) -> dict[str, list[Any]]:
        """Values of the images ``rows`` by name."""
        found = self.columns.values(rows)
        return {name: column for name, column in found.items() if name not in ("given", "decision")}


def _read(audit: Audit, observer: Observer | None) -> tuple[SampleSource, AuditInputs]:
    others, stored = RunNames.read_with(audit.dataset, lambda: audit.settings_now)
    samples, path = all_images(audit.dataset, audit.patches_field), audit.fields.view_path("given")
    ids = [name for name, given in zip(*samples.values(["id", path]), strict=True) if given is not None]
    source = collect_images(samples, ids=ids)
    try:
        settings = {**stored, "label_field": path}
        return source, read_followed(source, settings, others, _model(audit), observer)
    except (InputError, RunNotFoundError) as error:
        raise RunError(
            f"audit {audit.key!r} cannot be fitted again: {error}; or audit the labels again under another key"
        ) from error


def _device(audit: Audit) -> str:
    """The device of the audit; "auto" if it is not on this machine, or not known from an older version."""
    device = str(audit.settings.get("device", "auto"))
    try:
        choose_compute(device, "float32")
    except OptionsError as error:
        if first_time((audit.uid, device)):
            logger.warning("audit %r: %s; its scores are fitted with device='auto'", audit.key, error)
        return "auto"
    return device


def _model(audit: Audit) -> str | None:
    import fiftyone.zoo as foz

    name: str | None = audit.settings["model"]
    if name is not None and name not in foz.list_zoo_models():
        raise InputError(
            f"its vectors came from a model object {name}, which is not in FiftyOne's zoo; store the vectors in a "
            "field with compute_embeddings, and give embeddings_field"
        )
    return name


def _decided(
    given: list[object | None], stored: list[object | None], graph: NeighborGraph | None
) -> DecidedLabels:
    import numpy as np

    labels, certain, left_out = list(given), np.zeros(len(given), bool), np.zeros(len(given), bool)
    for row, text in enumerate(stored):
        decision = read_decision(text)
        if decision is None:
            continue
        if decision.verdict in ("exclude", "unsure"):
            left_out[row] = True
            continue
        certain[row] = True
        if decision.label is not None:
            labels[row] = decision.label
    decisions = [text if isinstance(text, str) else None for text in stored]
    return DecidedLabels(labels, given, certain, left_out, decisions, graph)
