"""Deep clustering for FiftyOne datasets, and for plain lists of images.

Public names are imported on first use: importing this package imports neither FiftyOne nor torch.
Type checkers and editors read ``__init__.pyi``, which imports the same names.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "cluster": "fiftyone_deepcluster.dataset.api",
    "resume": "fiftyone_deepcluster.dataset.api",
    "assign": "fiftyone_deepcluster.dataset.api",
    "refine": "fiftyone_deepcluster.dataset.refining",
    "add_dicom": "fiftyone_deepcluster.dataset.dicom.import_files",
    "DicomSummary": "fiftyone_deepcluster.dataset.dicom.samples",
    "load_run": "fiftyone_deepcluster.dataset.runs.run",
    "list_runs": "fiftyone_deepcluster.dataset.runs.run",
    "interrupted_runs": "fiftyone_deepcluster.dataset.runs.run",
    "delete_run": "fiftyone_deepcluster.dataset.runs.run",
    "rename_run": "fiftyone_deepcluster.dataset.runs.run",
    "Run": "fiftyone_deepcluster.dataset.runs.run",
    "audit_labels": "fiftyone_deepcluster.dataset.audit.audit",
    "load_audit": "fiftyone_deepcluster.dataset.audit.audit",
    "list_audits": "fiftyone_deepcluster.dataset.audit.audit",
    "rename_audit": "fiftyone_deepcluster.dataset.audit.audit",
    "delete_audit": "fiftyone_deepcluster.dataset.audit.audit",
    "Audit": "fiftyone_deepcluster.dataset.audit.audit",
    "review_labels": "fiftyone_deepcluster.dataset.audit.label_review",
    "audit_vectors": "fiftyone_deepcluster.analysis.label_audit.audit",
    "KnownSides": "fiftyone_deepcluster.analysis.label_audit.labeled_set",
    "LabelAudit": "fiftyone_deepcluster.analysis.label_audit.result",
    "key_words": "fiftyone_deepcluster.dataset.results.categories",
    "build_tree": "fiftyone_deepcluster.dataset.results.categories",
    "review": "fiftyone_deepcluster.dataset.review.review",
    "compare_runs": "fiftyone_deepcluster.dataset.results.compare",
    "rank_runs": "fiftyone_deepcluster.dataset.results.compare",
    "recommend_number": "fiftyone_deepcluster.dataset.results.numbers",
    "sweep_numbers": "fiftyone_deepcluster.clusterers.number",
    "try_clusterings": "fiftyone_deepcluster.clusterers.candidates",
    "Comparison": "fiftyone_deepcluster.analysis.compare",
    "Ranking": "fiftyone_deepcluster.analysis.compare",
    "probe": "fiftyone_deepcluster.dataset.results.probes",
    "list_layers": "fiftyone_deepcluster.dataset.results.probes",
    "draw_filters": "fiftyone_deepcluster.dataset.results.filters",
    "retrieve": "fiftyone_deepcluster.dataset.results.neighbors",
    "retrieval_score": "fiftyone_deepcluster.dataset.results.neighbors",
    "index_neighbors": "fiftyone_deepcluster.dataset.results.neighbors",
    "Ascent": "fiftyone_deepcluster.analysis.unit_images",
    "fit": "fiftyone_deepcluster.api.fit",
    "Known": "fiftyone_deepcluster.core.types",
    "ImageRef": "fiftyone_deepcluster.images.refs",
    "FitResult": "fiftyone_deepcluster.api.fit",
    "predict": "fiftyone_deepcluster.api.predict",
    "Assignment": "fiftyone_deepcluster.core.types",
    "list_methods": "fiftyone_deepcluster.methods.base",
    "Options": "fiftyone_deepcluster.methods.base",
    "DeepCluster": "fiftyone_deepcluster.methods.deepcluster",
    "DeepClusterManifold": "fiftyone_deepcluster.methods.deepcluster_manifold",
    "DAC": "fiftyone_deepcluster.methods.dac",
    "DeepClusterV2": "fiftyone_deepcluster.methods.deepcluster_v2",
    "CardiacMR": "fiftyone_deepcluster.methods.cardiac_mr",
    "Auto": "fiftyone_deepcluster.methods.auto",
    "LDPO": "fiftyone_deepcluster.methods.ldpo",
    "Frozen": "fiftyone_deepcluster.methods.frozen",
    "SelfTraining": "fiftyone_deepcluster.methods.self_training",
    "UCNN": "fiftyone_deepcluster.methods.ucnn",
    "Round": "fiftyone_deepcluster.core.record",
    "RunRecord": "fiftyone_deepcluster.core.record",
    "StopReason": "fiftyone_deepcluster.core.record",
    "Observer": "fiftyone_deepcluster.core.progress",
    "DeepClusterError": "fiftyone_deepcluster.errors",
}

__all__ = [*_WHERE, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
