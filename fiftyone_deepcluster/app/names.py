"""Names shared by operators, panels and tests."""

from __future__ import annotations

PLUGIN = "@deepcluster/clustering"

CLUSTER_IMAGES = f"{PLUGIN}/cluster_images"
CANCEL_CLUSTERING = f"{PLUGIN}/cancel_clustering"
RESUME_CLUSTERING = f"{PLUGIN}/resume_clustering"
REFINE_CLUSTERING = f"{PLUGIN}/refine_clustering"
SHOW_CLUSTERING_RUN = f"{PLUGIN}/show_clustering_run"
LIST_CLUSTERING_RUNS = f"{PLUGIN}/list_clustering_runs"
RENAME_CLUSTERING_RUN = f"{PLUGIN}/rename_clustering_run"
DELETE_CLUSTERING_RUN = f"{PLUGIN}/delete_clustering_run"
RENAME_CLUSTER = f"{PLUGIN}/rename_cluster"
MERGE_CLUSTERS = f"{PLUGIN}/merge_clusters"
LABEL_CLUSTER = f"{PLUGIN}/label_cluster"
UNDO_EDIT = f"{PLUGIN}/undo_edit"
PROBE_LAYERS = f"{PLUGIN}/probe_layers"
DRAW_FILTERS = f"{PLUGIN}/draw_filters"
FIND_NEIGHBORS = f"{PLUGIN}/find_neighbors"
FIND_KEY_WORDS = f"{PLUGIN}/find_key_words"
RECOMMEND_NUMBER = f"{PLUGIN}/recommend_number"
BUILD_CATEGORY_TREE = f"{PLUGIN}/build_category_tree"
AUDIT_LABELS = f"{PLUGIN}/audit_labels"
IMPORT_DICOM = f"{PLUGIN}/import_dicom"

APP_COMMAND = "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true fiftyone app launch"
WORKER_COMMAND = "fiftyone-deepcluster worker"
