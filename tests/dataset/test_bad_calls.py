"""Every public call with odd values: it works, or one clear error names the argument or the value."""

from __future__ import annotations

import inspect
import uuid
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.arguments import listed, short
from fiftyone_deepcluster.errors import DeepClusterError
from tests.dataset.small_runs import FROZEN, LEARNED

SEED = 51

ODD: dict[str, Any] = {
    "None": None, "empty string": "", "blank": " ", "NUL": "\0", "a NUL inside": "a\0b", "300 characters": "x" * 300,
    "300 words": "x " * 300, "another script": "ключ", "a quote": "it's \"x\"", "a dot": "a.b", "a dollar": "$where",
    "a line break": "a\nb", "half a surrogate": "\ud800", "an unknown name": "no_such_name", "digits": "12",
    "zero": 0, "minus one": -1, "one": 1, "huge": 10**30, "a half": 0.5, "minus a half": -0.5, "nan": float("nan"),
    "infinity": float("inf"), "true": True, "complex": 1j, "decimal": Decimal("1.5"),
    "NumPy integer": np.int64(2), "small NumPy integer": np.uint8(2), "NumPy float": np.float32(0.5),
    "NumPy bool": np.bool_(True), "NumPy string": np.str_("no_such_name"), "array": np.array([1, 2]),
    "array of one": np.array([2]), "array of text": np.array(["a", "b"]), "array of objects": np.array([None, {}]),
    "scalar array": np.array(2), "empty list": [], "list of a name": ["dc"], "list of integers": [0, 1],
    "list of lists": [[1, 2], [3]], "list of None": [None], "dict": {"a": 1}, "empty dict": {}, "tuple": ("a", 1),
    "set": {"a"}, "bytes": b"dc", "object": object(), "class": dict, "function": len, "path": Path("no_such_name"),
    "time": datetime(2024, 1, 1), "generator": (i for i in range(2)), "range": range(2), "slice": slice(2),
    "exception": KeyError("x"),
}  # fmt: skip

# Valid arguments by the name of the parameter, the same in all functions.
VALID: dict[str, Any] = {
    "key": "dc", "new_key": "dc2", "label_field": "ground_truth", "text_field": "text", "method": "frozen", "folds": 2,
    "max_images": 20, "max_queries": 5, "k": 2, "layer": "conv1", "layers": "conv1", "units": [0],
    "ascent": {"steps": 1, "blur": 0}, "features": "learned", "n_exemplars": 1, "progress": False,
    "compute_brain": False, "cluster": "cluster-00", "clusters": ["cluster-00", "cluster-01"], "field": "mine",
    "label": "zero", "into": "cluster-00", "new_name": "other", "dry_run": True, "steps": 1,
    "to": "cluster-01", "other": "ground_truth", "numbers": [2, 3], "n_clusters": 2, "repetitions": 2,
    "names": ["cluster-00"], "reducer": "identity", "candidates": {"k-means": ("identity", "kmeans")},
}  # fmt: skip

# Options of the method, with which a call that is right is quick.
OPTIONS: dict[str, dict[str, Any]] = {
    "cluster": {"n_clusters": 2, "image_size": 8, "baselines": False},
    "refine": {"rounds": 1},
}

# Values that mean something else than an odd value where they are valid, so that the call would be slow or harmful.
SKIPPED = {
    ("fit", "options", "300 words"),
    ("try_clusterings", "candidates", "None"),
}

CHANGE_RUNS = {"cluster", "refine", "rename_run", "audit_labels", "rename_audit"}

NOT_CALLED = {"add_dicom", "list_methods"}
"""Has odd files of its own in ``dicom/test_odd.py``; takes no argument."""


class Calls:
    """A dataset of a few digits with a run, and every public call on it.

    Args:
        dataset: the dataset.
        folder: folder for files.
    """

    def __init__(self, dataset, folder: Path) -> None:
        self.dataset, self.folder, self._reviewed = dataset, folder, False
        rng = np.random.default_rng(0)
        words = ["heart", "lung", "liver", "chest", "cyst"]
        dataset.set_values("text", [" ".join(rng.choice(words, 4)) for _ in range(len(dataset))])
        dataset.set_values("vector", list(rng.standard_normal((len(dataset), 4)).astype(np.float32)))
        self.images = dataset.values("filepath")
        self.sample_id = dataset.first().id
        options = {**LEARNED, "n_clusters": 2, "rounds": 1, "min_steps": 1}
        self.run = fdc.cluster(dataset, key="dc", **options)
        fdc.audit_labels(dataset, "ground_truth", embeddings_field="vector")
        labels = fdc.review_labels(dataset, "audit", refit_every=0)
        labels.decide(dataset.first().id, "other", label="2")
        labels.export(folder / "table.csv")
        fdc.fit(self.images, fdc.DeepCluster(**fitted(options)), run_dir=folder / "fitted")
        self.functions = self._functions()
        """Public functions, and public methods of a run and its review, by name."""

    def _functions(self) -> dict[str, Any]:
        found = {
            name: getattr(fdc, name)
            for name in fdc.__all__
            if inspect.isfunction(getattr(fdc, name)) and name not in NOT_CALLED
        }
        owners = (self.run, fdc.review(self.dataset, "dc"), fdc.load_audit(self.dataset, "audit"))
        for owner in (*owners, fdc.review_labels(self.dataset, "audit", refit_every=0)):
            for name, function in inspect.getmembers(owner, inspect.ismethod):
                if not name.startswith("_"):
                    found[f"{type(owner).__name__}.{name}"] = function
        return found

    def arguments(self, name: str, function: Any, but: str) -> dict[str, Any]:
        """Valid arguments of a function, for a call with another value of the parameter ``but``."""
        known = {
            **VALID,
            "samples": self.dataset,
            "new_samples": self.dataset,
            "sample_id": self.sample_id,
            "images": self.images,
            "run_dir": self.folder / "fitted",
            "path": self.folder / "review.csv",
            "vectors": np.random.default_rng(0).standard_normal((12, 4), dtype=np.float32),
        }
        if name == "cluster":
            known |= {**FROZEN, "key": "other"}
        if "audit" in name or "label" in name.lower():
            known |= {"key": "audit", "decision": "keep", "p_wrong": 0.001, "path": self.folder / "table.csv"}
        if name == "LabelReview.report":
            known["path"] = self.folder / "audit.html"
        if name == "audit_labels":
            known |= {"key": "other", "embeddings_field": "vector"}
        if name == "audit_vectors":
            draw = np.random.default_rng(0)
            known |= {"vectors": draw.random((30, 3)), "labels": [0, 1] * 15}
        if name == "fit":
            known |= {
                "options": fdc.Frozen(n_clusters=2, baselines=False),
                "features": np.eye(len(self.images)),
                "run_dir": None,
            }
        if name in ("Review.move", "Review.reject"):  # either samples or a cluster
            known.pop("cluster" if but == "samples" else "samples")
        if name in ("Review.commit", "Review.preview_commit"):
            known["only_named"] = False
        parameters = inspect.signature(function).parameters.values()
        return OPTIONS.get(name, {}) | {
            entry.name: known[entry.name]
            for entry in parameters
            if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL)
            and (entry.default is entry.empty or entry.name in known)
            and entry.name in known
        }

    def all(self) -> list[tuple[str, str, str]]:
        """Every function with each of its parameters and each odd value."""
        return [
            (name, entry.name, odd)
            for name, function in sorted(self.functions.items())
            for entry in inspect.signature(function).parameters.values()
            for odd in ODD
            if entry.kind is not entry.VAR_KEYWORD and (name, entry.name, odd) not in SKIPPED
        ]

    def complaint(self, name: str, parameter: str, odd: str) -> str | None:
        """What is wrong with the answer of a call with one odd value; None if it is right."""
        if (name == "refine") != self._reviewed:  # refine needs an edit, with which resume would refuse
            self._reviewed = not self._reviewed
            review = fdc.review(self.dataset, "dc")
            review.mark_reviewed(["cluster-00"]) if self._reviewed else review.undo()
        function, value = self.functions[name], ODD[odd]
        entry = inspect.signature(function).parameters[parameter]
        arguments = self.arguments(name, function, parameter)
        try:
            if entry.kind is entry.VAR_POSITIONAL:
                function(*arguments.values(), value)
            else:
                function(**{**arguments, parameter: value})
        except DeepClusterError as error:
            return misnamed(error, parameter, value)
        except Exception as error:
            return f"{type(error).__module__}.{type(error).__name__}: {str(error)[:300]}"
        if name in CHANGE_RUNS:
            self.restore()
        return None

    def restore(self) -> None:
        """Undo what a call that worked has done."""
        audits = set(fdc.list_audits(self.dataset))
        for key in audits - {"audit"}:
            if "audit" in audits:
                fdc.delete_audit(self.dataset, key)
            else:
                fdc.rename_audit(self.dataset, key, "audit")
        keys = set(fdc.list_runs(self.dataset))
        for key in keys - {"dc"}:
            if "dc" in keys:
                fdc.delete_run(self.dataset, key)
            else:  # the only run was renamed
                fdc.rename_run(self.dataset, key, "dc")


def fitted(options):
    return {name: value for name, value in options.items() if name in fdc.DeepCluster.model_fields}


def misnamed(error: DeepClusterError, parameter: str, value: object) -> str | None:
    """None if the error is a line that names the parameter or the value."""
    text = str(error)
    inside = [] if isinstance(value, str | dict) else listed(value) or []
    names = {parameter, repr(value), short(value), str(value), type(value).__name__, *map(repr, inside)}
    names |= {repr(str(entry)) for entry in inside}
    if any(name and name in text for name in names) and len(text) < 1_000:
        return None
    return f"{type(error).__name__} names neither {parameter!r} nor the value: {text[:300]}"


@pytest.fixture(autouse=True)
def folder_of_the_test(tmp_path, monkeypatch):
    """Odd names of folders are made here, and not in the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def calls(fiftyone_home, digits_dir, tmp_path_factory):
    import fiftyone as fo

    dataset = fo.Dataset(f"bad-calls-{uuid.uuid4().hex[:8]}")
    files = sorted(digits_dir.iterdir())[:30]
    dataset.add_samples(
        [
            fo.Sample(filepath=str(file), ground_truth=fo.Classification(label=str(int(file.stem[-1]) % 2)))
            for file in files
        ],
        progress=False,
    )
    yield Calls(dataset, tmp_path_factory.mktemp("bad-calls"))
    dataset.delete()


@pytest.mark.parametrize("n", [300, pytest.param(None, marks=pytest.mark.slow)])
def test_odd_values(calls, n):
    chosen = calls.all()
    if n is not None:
        rows = np.random.default_rng(SEED).choice(len(chosen), n, replace=False)
        chosen = [chosen[row] for row in sorted(rows)]
    fields = set(calls.dataset.get_field_schema(flat=True))
    complaints = {" · ".join(call): calls.complaint(*call) for call in chosen}
    wrong = [f"{call}: {text}" for call, text in complaints.items() if text is not None]
    assert not wrong, f"{len(wrong)} of {len(chosen)} calls:\n" + "\n".join(wrong)
    assert fdc.list_runs(calls.dataset) == ["dc"], "a call that was refused has changed the runs"
    assert set(calls.dataset.get_field_schema(flat=True)) == fields, "a call has left fields behind"


@pytest.mark.parametrize("name", fdc.list_methods())
def test_odd_options(name):
    """Options take a value in its plain type, or name it in one line."""
    made = fdc.list_methods()[name]
    wrong = []
    for option in made.model_fields:
        for odd, value in ODD.items():
            try:
                options = made(**{option: value})
                taken = options.model_dump(mode="json")[option]
                assert type(taken) in (type(None), bool, int, float, str, list, dict), taken
            except DeepClusterError as error:
                text = str(error)
                if option not in text or "\n" in text:
                    wrong.append(f"{option} · {odd}: {text[:200]}")
            except Exception as error:
                wrong.append(f"{option} · {odd}: {type(error).__name__}: {str(error)[:200]}")
    assert not wrong, "\n".join(wrong)
