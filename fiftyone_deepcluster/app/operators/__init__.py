"""Operators of the plugin; each is a thin wrapper of one SDK function."""

from fiftyone_deepcluster.app.operators.audit_labels import AuditLabels
from fiftyone_deepcluster.app.operators.cancel_clustering import CancelClustering
from fiftyone_deepcluster.app.operators.categories import BuildCategoryTree, FindKeyWords
from fiftyone_deepcluster.app.operators.cluster_images import ClusterImages
from fiftyone_deepcluster.app.operators.delete_clustering_run import DeleteClusteringRun
from fiftyone_deepcluster.app.operators.draw_filters import DrawFilters
from fiftyone_deepcluster.app.operators.edit_clusters import (
    LabelCluster,
    MergeClusters,
    RenameCluster,
    UndoEdit,
)
from fiftyone_deepcluster.app.operators.find_neighbors import FindNeighbors
from fiftyone_deepcluster.app.operators.import_dicom import ImportDicom
from fiftyone_deepcluster.app.operators.list_clustering_runs import ListClusteringRuns
from fiftyone_deepcluster.app.operators.probe_layers import ProbeLayers
from fiftyone_deepcluster.app.operators.recommend_number import RecommendNumber
from fiftyone_deepcluster.app.operators.refine_clustering import RefineClustering
from fiftyone_deepcluster.app.operators.rename_clustering_run import RenameClusteringRun
from fiftyone_deepcluster.app.operators.resume_clustering import ResumeClustering
from fiftyone_deepcluster.app.operators.show_clustering_run import ShowClusteringRun

OPERATORS = (
    ClusterImages,
    CancelClustering,
    ResumeClustering,
    RefineClustering,
    ShowClusteringRun,
    ListClusteringRuns,
    RenameClusteringRun,
    DeleteClusteringRun,
    RenameCluster,
    MergeClusters,
    LabelCluster,
    UndoEdit,
    ProbeLayers,
    DrawFilters,
    FindNeighbors,
    FindKeyWords,
    BuildCategoryTree,
    RecommendNumber,
    AuditLabels,
    ImportDicom,
)
