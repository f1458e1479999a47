"""Label audits on FiftyOne collections: run, load, list, rename, delete.

An audit is a plain FiftyOne custom run with fields, stored and removed as a clustering run is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.analysis.label_audit.findings import ISSUE_KINDS
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.devices import choose_compute
from fiftyone_deepcluster.core.process_state import changed
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.core.seeds import LARGEST_SEED
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.audit.audit_inputs import collect_labeled, field_list, read_followed
from fiftyone_deepcluster.dataset.audit.audit_job import judge, store_audit
from fiftyone_deepcluster.dataset.audit.audit_record import AuditRecord
from fiftyone_deepcluster.dataset.io.fields import (
    FieldNames,
    check_apart,
    check_free,
    check_key,
    is_key,
    marked,
)
from fiftyone_deepcluster.dataset.io.read_images import all_images, flat, root_dataset
from fiftyone_deepcluster.dataset.io.vectors import check_given, model_name
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.runs import intents, lock, storage
from fiftyone_deepcluster.dataset.runs.database import all_need_database, database_needed
from fiftyone_deepcluster.dataset.runs.kept_edits import check_may_replace
from fiftyone_deepcluster.dataset.runs.references import RunNames
from fiftyone_deepcluster.errors import RunExistsError
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo
    import pandas as pd

    from fiftyone_deepcluster.core.progress import Observer

logger = logging.getLogger(__name__)

_LIST = ("p_wrong", "given", "suggestion", "reason", "rank", "group", "issues", "decision")


@all_need_database("repeat the call")
@dataclass(frozen=True)
class Audit:
    """An audit and its results.

    Attributes:
        key: key of the audit.
        dataset: dataset that it is stored on.
        record: tables, issues, estimated noise.
        patches_field: Detections field whose objects were audited, or None.
        created: time when it was stored, UTC.
        settings: label_field, run, embeddings_field, model, group_field, seed, device.
        uid: unique id of the audit; unchanged by renaming.
    """

    key: str
    dataset: fo.Dataset
    record: AuditRecord
    patches_field: str | None
    created: datetime
    settings: dict[str, Any]
    uid: str

    def __repr__(self) -> str:
        """Short form; the repr of the dataset takes a page."""
        noise = self.record.noise
        share = "" if noise is None else f", about {noise.rate:.1%} wrong"
        return (
            f"Audit({self.key!r} on {self.dataset.name!r}: {counted(self.record.n_audited, 'label')}{share})"
        )

    @property
    def fields(self) -> FieldNames:
        """Names of its fields."""
        return FieldNames(self.key, self.patches_field, "audit")

    @property
    def settings_now(self) -> dict[str, Any]:
        """``settings`` with the names that runs have now, if some were renamed since the audit was loaded."""
        if not storage.is_stored(self.dataset, self.key, self.uid, "audit"):
            return self.settings
        return storage.header_of(self.dataset, self.key, "audit")[0].settings

    @property
    def label_field(self) -> str:
        """Field with the labels that were audited."""
        return str(self.settings_now["label_field"])

    @property
    def options(self) -> Options:
        """Options of ``frozen`` with the seed of the audit."""
        return parse_options("frozen", {"seed": self.settings["seed"]})

    def view(self, kind: str = "wrong_label") -> fo.DatasetView:
        """The images with one kind of issue, the most suspicious first; a patches view for patches.

        Args:
            kind: a kind of ``record.issues``, such as ``wrong_label`` or ``leak``.

        Raises:
            InputError: no such kind.
            RunNotFoundError: the audit was deleted since it was loaded.
        """
        from fiftyone import ViewField

        arguments.one_of("kind", kind, list(ISSUE_KINDS))
        check_there(self)
        names = self.fields
        samples = flat(self.dataset)
        if self.patches_field is None:
            return samples.match({names.path("issues"): kind}).sort_by(names.path("rank"))
        chosen = samples.filter_labels(self.patches_field, ViewField(f"{self.key}_issues").contains(kind))
        return chosen.to_patches(self.patches_field).sort_by(names.view_path("rank"))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per label, the most suspicious first.

        The columns ``is_label_issue``, ``label_score`` (low is bad), ``given_label`` and ``predicted_label`` are those
        of cleanlab; others are ``p_wrong``, ``suggestion``, ``reason``, ``rank``, ``group``, ``issues``, ``decision``,
        ``id``, ``sample_id`` and ``filepath``.
        """
        import pandas as pd

        check_there(self)
        frame = pd.DataFrame(audit_rows(self))
        given, suggestion = frame["given"], frame["suggestion"]
        cleanlabs = {
            "is_label_issue": frame["p_wrong"] >= 0.5,
            "label_score": 1 - frame["p_wrong"],
            "given_label": given,
            "predicted_label": suggestion.where(suggestion.notna(), given),
        }
        return pd.DataFrame({"id": frame["id"], **cleanlabs, **frame.drop(columns=["id", "given"])})


def audit_rows(audit: Audit) -> list[dict[str, Any]]:
    """Values of every image with a label, the most suspicious first, those that were not audited last."""
    sample_id = "id" if audit.patches_field is None else "sample_id"
    paths = ["id", sample_id, "filepath", *(audit.fields.view_path(name) for name in _LIST)]
    columns = all_images(audit.dataset, audit.patches_field).values(paths)
    titles = ("id", "sample_id", "filepath", *_LIST)
    rows = [dict(zip(titles, row, strict=True)) for row in zip(*columns, strict=True)]
    rows = [row for row in rows if row["given"] is not None]
    return sorted(rows, key=lambda row: (row["rank"] is None, row["rank"] or 0))


@database_needed("repeat the call")
def audit_labels(
    samples: fo.core.collections.SampleCollection,
    label_field: str = "ground_truth",
    key: str = "audit",
    *,
    run: str | None = None,
    embeddings_field: str | Sequence[str] | None = None,
    model: Any = None,
    group_field: str | None = None,
    patches_field: str | None = None,
    overwrite: bool = False,
    seed: int = 51,
    device: str = "auto",
    observer: Observer | None = None,
) -> Audit:
    """Find labels that are probably wrong, and write for every label the probability that it is.

    No label is changed. The fields written are listed in ``fiftyone_deepcluster.dataset.io.layouts``.

    Args:
        samples: dataset, view, patches view or group slice of images.
        label_field: field with the labels to audit: Classification, Detections, string, integer or boolean, such as a
            DICOM header field.
        key: name of the audit and prefix of its fields; a Python identifier.
        run: key of a clustering run; its learned features are used, and its clusters are named in the reasons.
        embeddings_field: field with vectors, or several of them.
        model: a FiftyOne model, or the name of a model in its zoo, that computes the vectors.
        group_field: field with groups such as patients, series or splits: images of one group are not evidence for
            each other's labels, and near duplicates in different groups are reported.
        patches_field: a Detections field whose objects are the images.
        overwrite: replace the audit stored under this key and delete its fields; one with decisions is not replaced.
        seed: random seed of the cross-validation's folds.
        device: "auto", "cpu", "cuda" or "cuda:1": where neighbors are searched and classifiers fitted, also when the
            scores are fitted again after decisions; "auto" then if there is no such device.
        observer: receives progress events; can cancel.

    Returns:
        The audit, as returned by ``load_audit``.

    Raises:
        InputError: fields that are missing or cannot be used, or labels that cannot be audited; nothing is written.
        OptionsError: no such device, or no such model.
        RunExistsError: the key is taken and ``overwrite`` is not set, or the audit has decisions.
        RunLockedError: another process is working on this key.
        CancelledError: cancelled; nothing is written.
    """
    check_key(key)
    check_observer(observer)
    arguments.yes_or_no(overwrite=overwrite)
    check_given(parse_options("frozen", {}), None, model)
    choose_compute(device, "float32")
    source = collect_labeled(samples, label_field, patches_field)
    intents.complete_unfinished(source.dataset)
    settings: dict[str, Any] = {
        "label_field": label_field,
        "run": None if run is None else arguments.one_name("run", run, "dc"),
        "embeddings_field": field_list(embeddings_field),
        "model": model_name(model),
        "group_field": group_field,
        "seed": arguments.whole_number("seed", seed, 0, LARGEST_SEED),
        "device": device,
    }
    names, others = FieldNames(key, source.patches_field, "audit"), RunNames.read(source.dataset)
    with lock.acquire(source.dataset, key) as held:
        source.dataset.reload()
        old = _old_audit(source.dataset, names, overwrite)
        inputs = read_followed(source, settings, others, model, observer)
        judged = judge(source, inputs, settings["seed"], observer, device=device)
        held.check()
        if old is not None:
            intents.carry_out(source.dataset, old)
        store_audit(source, names, judged, settings, others=others, observer=observer)
    return load_audit(source.dataset, key)


def _old_audit(dataset: fo.Dataset, names: FieldNames, overwrite: bool) -> intents.Intent | None:
    """The intent that removes the audit to be replaced; None if there is none.

    Raises:
        RunExistsError: the key is taken by something that may not be replaced.
    """
    if names.key not in storage.keys(dataset, "audit"):
        check_free(dataset, names)
        return None
    if not overwrite:
        raise RunExistsError(
            f"{dataset.name!r} already has an audit {names.key!r}; choose another key, or overwrite=True to replace it "
            "unless it has decisions"
        )
    check_may_replace(dataset, names.key, "audit")
    header, _ = storage.header_of(dataset, names.key, "audit")
    check_free(dataset, names, but=storage.fields_of(dataset, names.key, "audit"))
    return intents.Intent("delete", names.key, header.uid, header.patches_field, kind="audit")


@database_needed("repeat the call")
def load_audit(samples: fo.core.collections.SampleCollection, key: str = "audit") -> Audit:
    """Load the audit stored under ``key``.

    Raises:
        RunNotFoundError: no such audit; the existing ones are listed.
    """
    dataset = root_dataset(samples)
    arguments.one_name("key", key, "audit")
    intents.complete_unfinished(dataset)
    header, created = storage.header_of(dataset, key, "audit")
    record = AuditRecord.model_validate(storage.raw_record(dataset, key))
    incomplete = not record.complete and not lock.is_held(dataset, key)
    # the panel loads it at every request
    if changed((header.uid, "incomplete"), incomplete) and incomplete:
        logger.warning(
            "audit %r was interrupted while its scores were fitted again, and some of them are old; "
            "review_labels(samples, %r).refit() writes all", key, key,
        )  # fmt: skip
    return Audit(key, dataset, record, header.patches_field, created, header.settings, header.uid)


@database_needed("repeat the call")
def list_audits(samples: fo.core.collections.SampleCollection) -> list[str]:
    """Keys of the audits on the dataset, oldest first."""
    dataset = root_dataset(samples)
    intents.complete_unfinished(dataset)
    return storage.keys(dataset, "audit")


@database_needed("repeat the call, which continues where it stopped")
def delete_audit(samples: fo.core.collections.SampleCollection, key: str) -> None:
    """Delete an audit with its fields, decisions and log. Labels that were written to other fields are kept.

    Raises:
        RunNotFoundError: no such audit.
        RunLockedError: another process is working on it.
    """
    dataset = root_dataset(samples)
    arguments.one_name("key", key, "audit")
    if not is_key(key):
        raise storage.no_such_run(dataset, key, "audit")
    intents.complete_unfinished(dataset)
    with lock.acquire(dataset, key):
        dataset.reload()
        if key in storage.keys(dataset, "audit"):
            header, _ = storage.header_of(dataset, key, "audit")
            uid, patches_field = header.uid, header.patches_field
        else:
            left = [names for names in marked(dataset) if (names.key, names.kind) == (key, "audit")]
            if not left:  # else fields without an audit, as after cloning a dataset during an audit
                raise storage.no_such_run(dataset, key, "audit")
            uid, patches_field = "", left[0].patches_field
        intents.carry_out(dataset, intents.Intent("delete", key, uid, patches_field, kind="audit"))


@database_needed("repeat the call, which continues where it stopped")
def rename_audit(samples: fo.core.collections.SampleCollection, key: str, new_key: str) -> Audit:
    """Change the key of an audit, and with it its fields.

    Raises:
        RunNotFoundError: no such audit.
        RunExistsError: the new key is taken by a field or run.
    """
    dataset = root_dataset(samples)
    arguments.one_name("key", key, "audit")
    check_key(new_key, "new_key")
    intents.complete_unfinished(dataset)
    header, _ = storage.header_of(dataset, key, "audit")
    if new_key == key:
        raise RunExistsError(f"the audit already has the key {key!r}; give a different new_key")
    intent = intents.Intent("rename", key, header.uid, header.patches_field, new_key, kind="audit")
    new = replace(intent.names, key=new_key)
    check_apart(intent.names, new)
    with lock.acquire(dataset, key), lock.acquire(dataset, new_key):
        dataset.reload()
        check_free(dataset, new)
        intents.carry_out(dataset, intent)
    return load_audit(dataset, new_key)
