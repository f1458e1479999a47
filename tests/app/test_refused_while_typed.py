"""Forms refuse, while they are filled in, what their call would refuse: the input says why, nothing is started."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionError

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import (
    FindKeyWords,
    ImportDicom,
    ProbeLayers,
    RefineClustering,
    ResumeClustering,
    UndoEdit,
)
from fiftyone_deepcluster.app.wording import in_app_words
from fiftyone_deepcluster.dataset.api import cluster, resume
from fiftyone_deepcluster.dataset.refining import refine
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs import lock, queue, status
from fiftyone_deepcluster.dataset.runs.run import list_runs
from fiftyone_deepcluster.errors import CancelledError, DeepClusterError, InputError
from tests.app.test_jobs import LAYOUT
from tests.app.test_operators import inputs_of, requests_of
from tests.observers import Acts, Watcher, disk_full

QUICK = {"n_clusters": 4, "baselines": False, "compute_brain": False, "progress": False}


def assert_refused_at(form, name, error):
    """The input shows the error of the call in the words of the form, and the choice of the run shows none."""
    place = form.get_property(name)
    assert place.invalid
    assert place.error_message == in_app_words(error)
    assert place.error_message.startswith(place.view.label)
    assert not form.get_property("key").invalid


def complaint(operator, ctx, name):
    """The message at an input that is invalid; None if it is valid."""
    place = inputs_of(operator, ctx).get_property(name)
    assert bool(place.invalid) is bool(place.error_message)
    return place.error_message if place.invalid else None


@pytest.fixture
def dataset(plugin, make_digits):
    """40 digits with the finished run ``dc``."""
    dataset = make_digits(40, persistent=True)
    cluster(dataset, "frozen", "dc", **QUICK)
    return dataset


def stopped(dataset, key="dc", **given):
    """A run that was stopped after the first of two rounds."""
    cluster(
        dataset, "deepcluster", key, rounds=2, image_size=16, min_steps=1, backbone={"name": "small", "width": 8},
        **{**QUICK, **given},
    )  # fmt: skip


@pytest.fixture
def cancelled(plugin, make_digits):
    """40 digits with the run ``dc``, cancelled after its first round."""
    dataset = make_digits(40, persistent=True)
    stopped(dataset, observer=Watcher(after_rounds=1))
    assert status.read_states(dataset)["dc"].status == "cancelled"
    return dataset


# ---------------------------------------------------------------- refine


def test_a_run_that_nobody_reviewed_is_not_refined(make_context, dataset):
    with pytest.raises(InputError) as refused:
        refine(dataset, "dc", progress=False)
    shown = complaint(RefineClustering(), make_context(dataset), "key")
    assert shown == in_app_words(refused.value)
    assert "nothing of run 'dc' was reviewed" in shown
    ctx = make_context(dataset, {"key": "dc"}, spaces=LAYOUT, operator_uri=names.REFINE_CLUSTERING)
    assert RefineClustering().execute(ctx) is None
    assert requests_of(ctx)["notify"]["message"] == shown
    assert set(status.read_states(dataset)) == {"dc"}, "a refused call leaves no line in the list of runs"


@pytest.mark.parametrize("decide", ["mark", "move", "reject"])
def test_a_run_with_any_decision_can_be_refined(make_context, dataset, decide):
    edits = review(dataset, "dc")
    if decide == "mark":
        edits.mark_reviewed(["cluster-01"])
    elif decide == "move":
        edits.move([dataset.match({"dc.label": "cluster-00"}).first().id], to="cluster-01")
    else:
        edits.reject([dataset.first().id])
    assert complaint(RefineClustering(), make_context(dataset), "key") is None
    undone = edits.undo() if decide != "mark" else edits.mark_reviewed(["cluster-01"], reviewed=False)
    assert undone is not None or decide == "mark"
    assert "was reviewed" in complaint(RefineClustering(), make_context(dataset), "key")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rounds", 1.5),
        ("rounds", 10**9),
        ("rounds", 99999999999999999),
        ("rounds", 0),
        ("reviewed_weight", 0),
        ("reviewed_weight", -1),
        ("reviewed_weight", float("inf")),
        ("reviewed_weight", 1e7),
    ],
)
def test_what_refine_refuses_is_refused_while_it_is_typed(make_context, dataset, name, value):
    review(dataset, "dc").mark_reviewed(["cluster-00"])
    with pytest.raises(InputError) as refused:
        refine(dataset, "dc", progress=False, **{name: value})
    form = inputs_of(RefineClustering(), make_context(dataset, {name: value}))
    assert_refused_at(form, name, refused.value)
    ctx = make_context(dataset, {"key": "dc", name: value}, spaces=LAYOUT)
    assert RefineClustering().execute(ctx) is None
    assert set(status.read_states(dataset)) == {"dc"}


def test_valid_values_are_taken(make_context, dataset):
    review(dataset, "dc").mark_reviewed(["cluster-00"])
    params = {"rounds": 1, "reviewed_weight": 0.5}
    form = inputs_of(RefineClustering(), make_context(dataset, params))
    assert not [name for name, place in form.properties.items() if place.invalid]
    params = {"rounds": None, "reviewed_weight": "", "key": "dc"}
    form = inputs_of(RefineClustering(), make_context(dataset, dict(params)))
    assert not [name for name, place in form.properties.items() if place.invalid]
    RefineClustering().execute(make_context(dataset, params))
    dataset.reload()
    assert list_runs(dataset) == ["dc", "dc2"]


# ---------------------------------------------------------------- resume


@pytest.mark.parametrize(
    ("name", "value"), [("rounds", 1.5), ("rounds", 10**9), ("max_minutes", 0), ("max_minutes", -1)]
)
def test_what_resume_refuses_is_refused_while_it_is_typed(make_context, asker, cancelled, name, value):
    before = status.read_states(cancelled)["dc"]
    with pytest.raises(InputError) as refused:
        resume(cancelled, "dc", progress=False, **{name: value})
    form = inputs_of(ResumeClustering(), make_context(cancelled, {name: value}))
    assert_refused_at(form, name, refused.value)
    ctx = make_context(cancelled, {"key": "dc", name: value}, spaces=LAYOUT)
    assert ResumeClustering().execute(ctx) is None
    assert requests_of(ctx)["notify"]["message"] == in_app_words(refused.value)
    with pytest.raises(ExecutionError):
        foo.execute_operator(
            names.RESUME_CLUSTERING, {"dataset": cancelled}, params={"key": "dc", name: value}
        )
    assert status.read_states(cancelled)["dc"] == before


def test_only_runs_that_are_at_rest_are_offered_to_resume(make_context, cancelled):
    stopped(cancelled, "other", observer=Watcher(after_rounds=1))
    with lock.acquire(cancelled, "dc"):
        live = status.LiveObserver(cancelled, "dc", "deepcluster", 2)
        form = inputs_of(ResumeClustering(), make_context(cancelled))
        assert form.get_property("key").type.values == ["other"]
        asked = complaint(ResumeClustering(), make_context(cancelled, {"key": "dc"}), "key")
        assert asked == "the run 'dc' is running; wait for it, or cancel it"
        queue.enter(cancelled, "other", "deepcluster")
        form = inputs_of(ResumeClustering(), make_context(cancelled))
        assert form.get_property("key").invalid
        assert form.get_property("nothing").view.label in (
            "The run 'dc' is running",
            "The run 'other' is queued",
        )
        live.finish("cancelled")


def test_a_run_with_edits_is_not_resumed_and_the_panel_says_why(make_context, asker, cancelled):
    review(cancelled, "dc").rename("cluster-00", "mine")
    before = status.read_states(cancelled)["dc"]
    with pytest.raises(DeepClusterError) as refused:
        resume(cancelled, "dc", progress=False)
    asked = complaint(ResumeClustering(), make_context(cancelled), "key")
    assert asked == in_app_words(refused.value)
    assert asker(cancelled).send("resume", key="dc")["message"] == asked
    assert status.read_states(cancelled)["dc"] == before


# ---------------------------------------------------------------- a resume that is refused later


@pytest.fixture
def failed(plugin, make_digits):
    """40 digits with a run that failed after its first round, and whose images were partly deleted since."""
    dataset = make_digits(40, persistent=True)
    with pytest.raises(OSError, match="disk is full"):
        stopped(dataset, observer=Acts(disk_full, after_round=1))
    dataset.delete_samples(dataset.limit(3))
    return dataset


def test_a_resume_that_is_refused_keeps_the_reason_of_the_run(make_context, asker, failed):
    from tests.app.test_jobs import until_ended

    before = status.read_states(failed)["dc"]
    assert "disk is full" in before.error
    ctx = make_context(failed, {"key": "dc", "rounds": 3}, spaces=LAYOUT)
    assert ResumeClustering().execute(ctx)["background"]
    state = until_ended(failed, "dc")
    assert "3 of 40 images were deleted" in state.refused
    assert (state.status, state.error, state.label) == (before.status, before.error, before.label)
    assert (state.round, state.rounds, state.metrics) == (before.round, before.rounds, before.metrics)
    (row,) = asker(failed)("poll", key=None)["runs"]
    assert (row["status"], row["resumable"]) == ("interrupted", True)
    assert row["text"].startswith(before.error)
    assert f"not resumed: {in_app_words(state.refused)}" in row["text"]


def test_a_finished_run_says_why_it_was_not_resumed(asker, dataset):
    ticket = queue.enter(dataset, "dc", "frozen", resumes=True)
    assert status.read_states(dataset)["dc"].status == "queued"
    queue.leave(dataset, "dc", ticket, InputError("n_clusters=5 is too many"))
    (row,) = asker(dataset)("poll", key=None)["runs"]
    assert (row["status"], row["text"]) == (
        "finished",
        "finished; not resumed: Number of clusters 5 is too many",
    )
    ticket = queue.enter(dataset, "dc", "frozen", resumes=True)
    queue.leave(dataset, "dc", ticket, CancelledError("stopped"))
    assert status.read_states(dataset)["dc"].refused == "stopped"


def test_a_queued_resume_that_is_cancelled_or_dies_leaves_the_run_as_it_was(failed, monkeypatch):
    before = status.read_states(failed)["dc"]
    queue.enter(failed, "dc", "deepcluster", 2, resumes=True)
    queue.enter(failed, "dc", "deepcluster", 2, resumes=True)  # as FiftyOne asks: what was kept is kept
    assert queue.request_cancel(failed, "dc")
    assert status.read_states(failed)["dc"] == before
    queue.enter(failed, "dc", "deepcluster", 2, background=True, resumes=True)
    monkeypatch.setattr(status, "_QUEUED_WITHIN_SECONDS", -1)
    state = status.read_states(failed)["dc"]
    assert (state.status, state.error, state.refused) == ("failed", before.error, "its process did not start")


def test_what_was_refused_is_forgotten_once_the_run_is_resumed(cancelled):
    ticket = queue.enter(cancelled, "dc", "deepcluster", 2, resumes=True)
    queue.leave(cancelled, "dc", ticket, InputError("no"))
    assert status.read_states(cancelled)["dc"].refused == "no"
    resume(cancelled, "dc", progress=False, compute_brain=False)
    state = status.read_states(cancelled)["dc"]
    assert (state.status, state.refused, state.before) == ("finished", "", None)


# ---------------------------------------------------------------- import DICOM


@pytest.fixture
def empty(fiftyone_home, unique):
    made = fo.Dataset(f"dicom-{unique}")
    yield made
    made.delete()


def test_a_name_that_no_dataset_can_have_is_refused(make_context, empty, tmp_path):
    (tmp_path / "one").write_text("")
    for name in ("!!!", "---", empty.name.upper()):
        ctx = make_context(empty, {"new_dataset": name, "files": str(tmp_path)})
        form = inputs_of(ImportDicom(), ctx)
        assert form.get_property("new_dataset").invalid, name
        assert f"'{name}' is not a valid dataset name" in form.get_property("new_dataset").error_message
        assert "target" not in form.properties, "it announced a dataset that cannot be made"
        assert not form.get_property("files").invalid
    assert complaint(ImportDicom(), make_context(empty, {"new_dataset": "x" * 400}), "new_dataset")
    assert (
        complaint(ImportDicom(), make_context(empty, {"new_dataset": f"{empty.name}-2"}), "new_dataset")
        is None
    )


def test_a_dataset_that_images_cannot_be_added_to_is_refused(make_context, empty):
    other = fo.Dataset(f"{empty.name}-video")
    try:
        other.media_type = "video"
        message = complaint(ImportDicom(), make_context(empty, {"new_dataset": other.name}), "new_dataset")
        assert "has media of type 'video'" in message
        message = complaint(ImportDicom(), make_context(other), "new_dataset")
        assert "give a dataset of images, or a new name" in message
    finally:
        other.delete()


def test_places_without_any_dicom_file_are_refused_without_a_search(make_context, empty, tmp_path):
    def message(path):
        return complaint(ImportDicom(), make_context(empty, {"files": str(path)}), "files")

    place = tmp_path / "in"
    place.mkdir()
    assert f"the folder '{place}' is empty" in message(place)
    text = place / "report.txt"
    text.write_text("The heart is normal.")
    assert f"'{text}' is not a DICOM file" in message(text)
    assert "does not exist" in message(place / "no")
    assert message(place) is None, "what is in a folder is not read"


# ---------------------------------------------------------------- numbers and texts


@pytest.mark.parametrize(
    ("operator", "name", "wrong"),
    [
        (ProbeLayers, "folds", (1, 2.5, 11)),
        (ProbeLayers, "max_images", (19, 20.5, 10**30)),
        (FindKeyWords, "n_words", (0, 1.5, 101)),
        (UndoEdit, "steps", (0, -1, 1.5)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_numbers_are_checked_while_they_are_typed(make_context, dataset, operator, name, wrong):
    review(dataset, "dc").rename("cluster-00", "zero")
    for value in wrong:
        message = complaint(operator(), make_context(dataset, {name: value}), name)
        label = inputs_of(operator(), make_context(dataset)).get_property(name).view.label
        assert message.startswith(f"{label} {value}"), message
        assert "give " in message
    for value in (None, "", 3, 50):
        if not (name == "folds" and value == 50) and not (name == "max_images" and value == 3):
            assert complaint(operator(), make_context(dataset, {name: value}), name) is None


def test_fields_of_a_dicom_header_are_not_proposed_as_texts(make_context, dataset):
    def proposed():
        place = inputs_of(FindKeyWords(), make_context(dataset)).get_property("text_field")
        return place.type.values, place.default

    dataset.add_sample_field("dicom_patient", fo.StringField)
    dataset.add_sample_field("dicom_modality", fo.StringField)
    assert proposed() == (["dicom_patient", "dicom_modality"], None)
    dataset.add_sample_field("report", fo.StringField)
    assert proposed() == (["dicom_patient", "dicom_modality", "report"], "report")
