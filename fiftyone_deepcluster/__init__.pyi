"""Public names for type checkers and editors; ``__init__.py`` imports the same names on first use."""

from fiftyone_deepcluster.analysis.unit_images import Ascent as Ascent
from fiftyone_deepcluster.api.fit import FitResult as FitResult
from fiftyone_deepcluster.api.fit import fit as fit
from fiftyone_deepcluster.api.predict import predict as predict
from fiftyone_deepcluster.core.progress import Observer as Observer
from fiftyone_deepcluster.core.record import Round as Round
from fiftyone_deepcluster.core.record import RunRecord as RunRecord
from fiftyone_deepcluster.core.record import StopReason as StopReason
from fiftyone_deepcluster.core.types import Assignment as Assignment
from fiftyone_deepcluster.core.types import Known as Known
from fiftyone_deepcluster.dataset.api import assign as assign
from fiftyone_deepcluster.dataset.api import cluster as cluster
from fiftyone_deepcluster.dataset.api import resume as resume
from fiftyone_deepcluster.dataset.dicom.import_files import add_dicom as add_dicom
from fiftyone_deepcluster.dataset.dicom.samples import DicomSummary as DicomSummary
from fiftyone_deepcluster.dataset.results.categories import build_tree as build_tree
from fiftyone_deepcluster.dataset.results.categories import key_words as key_words
from fiftyone_deepcluster.dataset.results.filters import draw_filters as draw_filters
from fiftyone_deepcluster.dataset.results.neighbors import index_neighbors as index_neighbors
from fiftyone_deepcluster.dataset.results.neighbors import retrieval_score as retrieval_score
from fiftyone_deepcluster.dataset.results.neighbors import retrieve as retrieve
from fiftyone_deepcluster.dataset.results.probes import list_layers as list_layers
from fiftyone_deepcluster.dataset.results.probes import probe as probe
from fiftyone_deepcluster.dataset.review.review import review as review
from fiftyone_deepcluster.dataset.runs.run import Run as Run
from fiftyone_deepcluster.dataset.runs.run import delete_run as delete_run
from fiftyone_deepcluster.dataset.runs.run import interrupted_runs as interrupted_runs
from fiftyone_deepcluster.dataset.runs.run import list_runs as list_runs
from fiftyone_deepcluster.dataset.runs.run import load_run as load_run
from fiftyone_deepcluster.dataset.runs.run import rename_run as rename_run
from fiftyone_deepcluster.errors import DeepClusterError as DeepClusterError
from fiftyone_deepcluster.images.refs import ImageRef as ImageRef
from fiftyone_deepcluster.methods.auto import Auto as Auto
from fiftyone_deepcluster.methods.base import Options as Options
from fiftyone_deepcluster.methods.base import list_methods as list_methods
from fiftyone_deepcluster.methods.cardiac_mr import CardiacMR as CardiacMR
from fiftyone_deepcluster.methods.dac import DAC as DAC
from fiftyone_deepcluster.methods.deepcluster import DeepCluster as DeepCluster
from fiftyone_deepcluster.methods.deepcluster_manifold import DeepClusterManifold as DeepClusterManifold
from fiftyone_deepcluster.methods.deepcluster_v2 import DeepClusterV2 as DeepClusterV2
from fiftyone_deepcluster.methods.frozen import Frozen as Frozen
from fiftyone_deepcluster.methods.ldpo import LDPO as LDPO
from fiftyone_deepcluster.methods.ucnn import UCNN as UCNN

__version__: str
