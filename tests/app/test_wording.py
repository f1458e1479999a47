"""Messages in the words of the App: arguments, calls and keys become labels of forms and buttons."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import fiftyone.operators as foo
import pytest

import fiftyone_deepcluster
from fiftyone_deepcluster.app.operators import ClusterImages, RenameCluster
from fiftyone_deepcluster.app.wording import ACTIONS, in_app_words, labels_of_inputs
from fiftyone_deepcluster.dataset.io.fields import check_key
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.errors import DeepClusterError, InputError
from tests.app.test_jobs import LAYOUT
from tests.app.test_operators import inputs_of

PYTHON = re.compile(r"\b\w+=|\(samples|=True|\bkey\b")


SAID = {
    "n_clusters=50 is more than the 40 images": "Number of clusters 50 is more than the 40 images",
    "n_clusters=None: give a number": "Number of clusters (empty): give a number",
    "field='a b' cannot be the name": "Field 'a b' cannot be the name",
    "Give truth_field": 'Give "Known classes"',
    "create one with cluster_images": 'create one with "Cluster images"',
    "choose another key, or overwrite=True to replace it": (
        'choose another name, or "Replace" switched on to replace it'
    ),
    "continue it with resume(samples, 'dc'), discard it with delete_run(samples, 'dc')": (
        'continue it with "Resume" in the tab Runs, discard it with "Delete" in the tab Runs'
    ),
    "call resume(samples, 'dc'), which goes on": 'use "Resume" in the tab Runs, which goes on',
    "undo them (review(samples, 'dc').undo(3))": 'undo them ("Undo")',
    "mark: review(samples, 'dc').mark_reviewed([...])": 'mark: "Reviewed" of a cluster',
}
KEPT = ("there is no field 'truth_field'; its own_field=3 is another computer's", 'the run "new key" stays')
"""Names of the user's fields, and words that are none of ours."""


@pytest.mark.parametrize(("message", "words"), [*SAID.items(), *((text, text) for text in KEPT)])
def test_a_message_gets_the_words_of_the_app(message, words):
    assert in_app_words(message) == words


def test_errors_of_names_and_runs_have_no_word_of_python(clustered):
    with pytest.raises(InputError) as refused:
        check_key("my run")
    for error in (refused.value, storage.run_exists(clustered, "dc"), storage.no_such_run(clustered, "x")):
        assert PYTHON.search(in_app_words(error)) is None, in_app_words(error)


def test_every_call_in_a_message_has_an_action_in_the_app():
    root = Path(fiftyone_deepcluster.__file__).parent
    called = set()
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text())
        documented = ast.Module | ast.ClassDef | ast.FunctionDef
        about = {
            ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in about:
                text = node.value
            else:
                continue
            for function, method in re.findall(r"\b(\w+)\(samples\b[^()]*\)(?:\.(\w+)\()?", text):
                called.add(method or function)
    assert {"resume", "delete_run", "undo"} <= called
    assert called <= {*ACTIONS}


def test_labels_are_those_of_the_forms(make_context, clustered):
    labels = labels_of_inputs()
    inputs = inputs_of(ClusterImages(), make_context(clustered, {"method": "frozen"}))
    for name in ("key", "truth_field", "embeddings_field"):
        place = inputs.get_property(name)
        assert place is None or place.view.label == labels[name]
    options = inputs.get_property("method").type.get_property("frozen").type.properties
    assert options["n_clusters"].view.label == labels["n_clusters"]


def test_the_app_and_a_script_get_an_error_in_their_own_words(make_context, clustered):
    params = {"key": "dc", "cluster": "cluster-00", "new_name": "x" * 250}
    with pytest.raises(DeepClusterError, match="new_name="):
        RenameCluster().execute(make_context(clustered, dict(params)))
    with pytest.raises(DeepClusterError, match=r"^New name "):
        RenameCluster().execute(make_context(clustered, dict(params), spaces=LAYOUT))
    assert isinstance(RenameCluster(), foo.Operator)
