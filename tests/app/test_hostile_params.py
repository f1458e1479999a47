"""Parameters that no form sends: every operator refuses them in one line, and leaves everything as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionError, execute_or_delegate_operator

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import OPERATORS
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.errors import DeepClusterError

HUGE = "x" * 100_000
NO_TEXTS = (7, 1.5, True, ["x"], [{"$ne": 1}], {}, {"$where": "sleep(9)"}, {"$gt": ""})
NO_NAMES = (
    "../../other", "/no/such/file", "..", "dc/../dc", "$where", "$dc", "a.b", ".", "\0", "dc\0", HUGE,
    "<img src=x onerror=alert(1)>", "{'$ne': 1}", "dc\u202e",
)  # fmt: skip
NO_KEYS = (7, ["x"], {"$where": "sleep(9)"}, "../../other", "$dc", "dc\0", HUGE)
NO_FIELDS = (*NO_KEYS, ["dc_embedding", 7], ["dc_embedding", HUGE], ["dc_embedding", "dc\0"])
NO_NUMBERS = (-1, 0, 1.5, True, "many", "1; drop", [1], {"$gt": 0}, 10**30, float("nan"))
NO_SWITCHES = (1, "no", "false", [True], {"$ne": None})
NO_PARTS = (
    7, ["frozen"], {"name": 7}, {"name": {"$ne": 1}}, {"name": "frozen", "frozen": 7},
    {"name": "frozen", "frozen": {"$where": 1}}, {"name": "frozen", "frozen": {"encoder": [7]}},
    {"name": "frozen", "frozen": {"encoder": {"name": "pooled", "pooled": "all"}}},
    {"name": "frozen", "n_clusters": {"$gt": 0}}, {"name": "../frozen"}, {"name": "os.system"}, {"name": HUGE},
    {"name": "frozen", "backbone": {"name": "small", "weights": __file__}}, {"name": "frozen", HUGE: 1},
    {"name": "frozen", "encoder": {"name": "eval"}}, {"name": "frozen", "seed": "\0"},
)  # fmt: skip
NO_PATHS = (7, ["/tmp"], {"$ne": 1}, "\0", "/tmp/\0file", "../no/such/place", "/dev/null", HUGE)
NO_LISTS = (
    7,
    "cluster-00",
    ["cluster-00", {"$ne": 1}],
    [HUGE, "cluster-00"],
    {"$in": []},
    [7, 8],
    ["a", "b"],
)
FEW = {"name": "frozen", "n_clusters": 3, "baselines": False}

GIVEN = {
    names.CLUSTER_IMAGES: {"method": FEW, "key": "new", "compute_brain": False},
    names.RENAME_CLUSTER: {"key": "dc", "cluster": "cluster-00", "new_name": "zero"},
    names.MERGE_CLUSTERS: {"key": "dc", "clusters": ["cluster-00", "cluster-01"], "into": "both"},
    names.LABEL_CLUSTER: {"key": "dc", "cluster": "cluster-00", "field": "mine", "label": "zero"},
    names.DELETE_CLUSTERING_RUN: {"key": "dc", "confirm": True},
    names.FIND_KEY_WORDS: {"key": "dc", "text_field": "report"},
    names.PROBE_LAYERS: {"key": "dc", "label_field": "ground_truth"},
    names.RENAME_CLUSTERING_RUN: {"key": "dc", "new_key": "other"},
    names.AUDIT_LABELS: {"label_field": "ground_truth", "run": "dc", "key": "new"},
}
"""Complete parameters of the operators that need more than a run; one of them is replaced by what is hostile."""

HOSTILE = {
    names.CLUSTER_IMAGES: {
        "key": NO_KEYS, "method": NO_PARTS, "overwrite": NO_SWITCHES, "compute_brain": NO_SWITCHES,
        "truth_field": NO_KEYS, "patches_field": NO_KEYS, "media_field": NO_KEYS, "embeddings_field": NO_FIELDS,
    },
    names.RESUME_CLUSTERING: {
        "key": NO_KEYS,
        "rounds": ("many", [1], {"$gt": 0}, -1, 1.5, 10**30), "max_minutes": ("long", [1], {"$gt": 0}, -1),
    },
    names.REFINE_CLUSTERING: {
        "key": NO_KEYS, "new_key": NO_KEYS, "rounds": ("many", [1], {"$gt": 0}, -1, 1.5, 10**30),
        "reviewed_weight": ("many", [1], {"$gt": 0}, -1, 0),
    },
    names.SHOW_CLUSTERING_RUN: {"key": NO_TEXTS + NO_NAMES},
    names.RENAME_CLUSTERING_RUN: {"key": NO_KEYS, "new_key": NO_TEXTS + NO_NAMES},
    names.DELETE_CLUSTERING_RUN: {"key": NO_KEYS, "confirm": NO_SWITCHES},
    names.RENAME_CLUSTER: {
        "key": NO_KEYS, "cluster": NO_TEXTS + NO_NAMES, "new_name": (*NO_TEXTS, HUGE, "\0", "a\nb", " "),
    },
    names.MERGE_CLUSTERS: {
        "key": NO_KEYS, "clusters": NO_LISTS, "into": (*NO_TEXTS, HUGE, "\0", "cluster-02"),
    },
    names.LABEL_CLUSTER: {
        "key": NO_KEYS, "cluster": NO_TEXTS + NO_NAMES, "field": (*NO_KEYS, "a.b", "$where"),
        "label": (*NO_TEXTS, HUGE, "\0", "a\nb"), "overwrite": NO_SWITCHES,
    },
    names.UNDO_EDIT: {"key": NO_KEYS, "steps": NO_NUMBERS[:-2]},
    names.PROBE_LAYERS: {
        "key": NO_KEYS, "label_field": NO_KEYS, "folds": NO_NUMBERS, "max_images": NO_NUMBERS,
    },
    names.DRAW_FILTERS: {
        "key": NO_KEYS, "layer": NO_KEYS, "steps": NO_NUMBERS,
        "units": (1.5, {"$gt": 0}, "all", "1e3", "-1", [-1], ["0"], [True], [{"$ne": 1}], "²", "9" * 30, HUGE),
    },
    names.FIND_NEIGHBORS: {"key": NO_KEYS, "label_field": NO_KEYS},
    names.FIND_KEY_WORDS: {
        "key": NO_KEYS, "text_field": NO_KEYS, "n_words": NO_NUMBERS,
        "rank": NO_KEYS,
    },
    names.BUILD_CATEGORY_TREE: {"key": NO_KEYS},
    names.RECOMMEND_NUMBER: {
        "key": NO_KEYS, "smallest": NO_NUMBERS, "largest": NO_NUMBERS, "repetitions": NO_NUMBERS,
        "max_images": NO_NUMBERS, "source": NO_KEYS, "embeddings_field": NO_FIELDS,
    },
    names.AUDIT_LABELS: {
        "label_field": NO_KEYS, "run": NO_KEYS, "embeddings_field": NO_FIELDS, "group_field": NO_KEYS, "key": NO_KEYS,
        "overwrite": NO_SWITCHES,
    },
    names.IMPORT_DICOM: {
        "files": NO_PATHS, "frames": NO_KEYS,
        "keywords": (7, ["Modality"], {"$ne": 1}, "$where", "a.b", "../x", "Modality\0", HUGE, "NoSuchKeyword"),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def clustered(plugin, fiftyone_home, digits_dir):
    """A run with an edit on 60 images, and a second dataset whose run has files, too."""
    import fiftyone as fo

    made = []
    for _ in range(2):
        dataset = fo.Dataset(persistent=True)
        made.append(dataset)
        files = sorted(digits_dir.iterdir())[:60]
        truth = [fo.Classification(label=file.stem[-1]) for file in files]
        samples = [
            fo.Sample(filepath=str(file), ground_truth=label, report="a hand-written digit")
            for file, label in zip(files, truth, strict=True)
        ]
        dataset.add_samples(samples, progress=False)
        cluster(dataset, "frozen", "dc", n_clusters=4, baselines=False, compute_brain=False, progress=False)
    review(made[0], "dc").rename("cluster-03", "three")
    yield made[0]
    for dataset in made:
        dataset.delete()


def everything(dataset) -> object:
    """All that an operator could change: samples, fields, runs, edits, files of all datasets."""
    dataset.reload()
    folder = run_files.runs_folder().parent
    return (
        [sample.to_dict() for sample in dataset.iter_samples()],
        list(dataset.get_field_schema(flat=True)),
        dataset.list_runs(),
        dataset.list_brain_runs(),
        review(dataset, "dc").log(),
        sorted(
            (str(path), path.stat().st_mtime_ns)
            for path in folder.rglob("*")
            if path.is_file() and kept(path)
        ),
    )


def kept(path: Path) -> bool:
    """Whether a file is no cache: the list of layers is stored when it is first made, to be named in an error."""
    return path.name != "layers.json"


def refusal(uri: str, dataset, params: dict) -> str:
    """Message of the refusal as the App's server returns it; fails if the operator did not refuse."""
    request = {"dataset_name": dataset.name, "params": params, "view": []}
    try:
        result = asyncio.run(execute_or_delegate_operator(uri, request, exhaust=True))
    except DeepClusterError as error:  # of the form
        return str(error)
    except ExecutionError as error:
        if not str(error).startswith("Validation error"):
            raise
        return str(error)
    assert result.error, f"{uri} took {str(params)[:200]}"
    last = result.error.strip().splitlines()[-1]
    assert last.startswith("fiftyone_deepcluster.errors."), last[:500]
    return result.error_message


def test_every_operator_with_parameters_is_tested(plugin):
    uris = {f"{names.PLUGIN}/{operator().config.name}" for operator in OPERATORS}
    assert uris - set(HOSTILE) == {names.LIST_CLUSTERING_RUNS, names.CANCEL_CLUSTERING}


@pytest.mark.parametrize(
    ("uri", "name"),
    [(uri, name) for uri, hostile in HOSTILE.items() for name in hostile],
    ids=lambda value: value.rsplit("/", 1)[-1],
)
def test_hostile_values_are_refused_and_change_nothing(clustered, uri, name):
    before = everything(clustered)
    given = GIVEN.get(uri, {"key": "dc"} if uri != names.IMPORT_DICOM else {"files": "/no/such/folder"})
    for value in HOSTILE[uri][name]:
        message = refusal(uri, clustered, {**given, name: value})
        assert 10 < len(message) < 1_000, message[:2_000]
        assert "Traceback" not in message
        assert "\n" not in message.strip()
    assert everything(clustered) == before


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_without_parameters_an_operator_says_what_it_needs(clustered, make_context, operator):
    """Or takes defaults; its form is drawn in any case."""
    form = operator().resolve_input(make_context(clustered))
    assert form is None or form.type.properties is not None


@pytest.mark.parametrize(
    "method", ["render", "_draw_run", "execute", "__class__", "resolve_input", "", 7, {"a": 1}]
)
def test_the_panel_calls_its_events_only(clustered, make_context, method):
    panel = foo.get_operator(f"{names.PLUGIN}/clusters")
    ctx = make_context(clustered, {"__method__": method, "panel_id": "p", "panel_state": {}})
    before = everything(clustered)
    panel.execute(ctx)
    assert ctx.executor.to_json()["requests"] == []
    assert everything(clustered) == before


def test_the_other_datasets_files_are_out_of_reach(clustered):
    """A key such as ``../ID/dc`` is the folder of another dataset's run."""
    own, root = run_files.dataset_dir(clustered), run_files.runs_folder()
    folders = [folder for folder in root.iterdir() if folder != own]
    others = [folder for folder in folders if (folder / "dc" / run_files.JOB_FILE).is_file()]
    assert others
    for folder in others:
        key = f"../{folder.name}/dc"
        assert (own / key / run_files.JOB_FILE).is_file()
        for uri in (names.RESUME_CLUSTERING, names.DELETE_CLUSTERING_RUN, names.SHOW_CLUSTERING_RUN):
            assert "no" in refusal(uri, clustered, {"key": key, "confirm": True})
        assert (own / key / run_files.JOB_FILE).is_file()
        assert Path(folder, "dc").is_dir()
