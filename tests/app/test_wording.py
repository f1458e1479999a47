"""Messages in the words of the App: arguments, calls and keys become labels of forms and buttons."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import fiftyone.operators as foo
import pytest
from fiftyone.operators import types

import fiftyone_deepcluster
from fiftyone_deepcluster.app.operators import OPERATORS, ClusterImages, RenameCluster
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
        'choose another name, or switch "Replace" on to replace it'
    ),
    "not confirmed; set confirm=True": 'not confirmed; switch "Delete permanently" on',
    "cross_fit=True needs both; or set cross_fit=False": (
        '"Cross fit" switched on needs both; or switch "Cross fit" off'
    ),
    "cluster again with overwrite=True or under another key": (
        'cluster again with "Replace" switched on or under another name'
    ),
    "with delete_run(samples, 'dc') or overwrite=True, or wait": (
        'with "Delete" in the tab Runs or "Replace" switched on, or wait'
    ),
    "set image_size=224, or set n_clusters=None": 'set "Image size" to 224, or leave "Number of clusters" empty',
    "the run already has the key 'dc'": "the run already has the name 'dc'",
    "continue it with resume(samples, 'dc'), discard it with delete_run(samples, 'dc')": (
        'continue it with "Resume" in the tab Runs, discard it with "Delete" in the tab Runs'
    ),
    "call resume(samples, 'dc'), which goes on": 'use "Resume" in the tab Runs, which goes on',
    "undo them (review(samples, 'dc').undo(3))": 'undo them ("Undo")',
    "mark: review(samples, 'dc').mark_reviewed([...])": 'mark: "Reviewed" of a cluster',
    "join the two: merge(['a (1)', f('b')], into='b'), or": 'join the two: "Join", or',
    "review_labels(samples, 'a').refit() writes all": "the tab Audit, while the audit is open there, writes all",
}
KEPT = (
    "",
    "there is no field 'truth_field'; its own_field=3 is another computer's",
    'the run "new key" stays',
    "create one with FiftyOne's compute_embeddings(..., embeddings_field='x')",
    "give known=Known(initial=..., fixed=...) to fit",
    "the brackets of f(g(h(seed=3))) are too deep, those of f(g( are open",
    "/home/ada/import_dicom/x.png and C:\\ada\\import_dicom\\key=3",
    "see job-probe_layers-dc.log, n_clusters.csv or https://host/?seed=3&model=resnet",
    "the key words, and the key of the first import",
)
"""Names of the user's fields and files, calls that the App has nothing for, and words that are none of ours."""


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
            for function, method in re.findall(r"\b(\w+)\((?:samples\b|\[)[^()]*\)(?:\.(\w+)\()?", text):
                called.add(method or function)
    assert {"resume", "delete_run", "undo", "merge"} <= called
    assert called <= {*ACTIONS}


def test_labels_are_those_of_the_forms(make_context, clustered):
    labels = labels_of_inputs()
    inputs = inputs_of(ClusterImages(), make_context(clustered, {"method": "frozen"}))
    options = inputs.get_property("method").type.get_property("frozen").type.properties
    assert options["n_clusters"].view.label == labels["n_clusters"]


def test_an_argument_has_the_same_label_in_every_form(make_context, clustered):
    labels, seen, others = labels_of_inputs(), set(), {}
    clustered.set_values("clip", [[float(row), 1.0] for row in range(len(clustered))])
    for operator in OPERATORS:
        form = operator().resolve_input(make_context(clustered, {"key": "dc", "method": "frozen"}))
        for name, place in form.type.properties.items() if form else ():
            is_new = name != "key" or isinstance(place.type, types.String)  # else a choice of the runs
            if name in labels and is_new and not isinstance(place.view, types.HiddenView):
                seen.add(name)
                if place.view.label != labels[name]:
                    others[operator.__name__, name] = place.view.label
    assert not others
    assert {
        "key",
        "overwrite",
        "embeddings_field",
        "label_field",
        "new_key",
        "confirm",
        "truth_field",
    } <= seen


def test_the_app_and_a_script_get_an_error_in_their_own_words(make_context, clustered):
    params = {"key": "dc", "cluster": "cluster-00", "new_name": "x" * 250}
    with pytest.raises(DeepClusterError, match="new_name="):
        RenameCluster().execute(make_context(clustered, dict(params)))
    with pytest.raises(DeepClusterError, match=r"^New name "):
        RenameCluster().execute(make_context(clustered, dict(params), spaces=LAYOUT))
    assert isinstance(RenameCluster(), foo.Operator)
