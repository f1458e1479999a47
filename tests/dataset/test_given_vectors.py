"""Runs and audits on vectors of a field, and on those that a FiftyOne model computes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.app.panels.answers.clusters import facts
from fiftyone_deepcluster.cli.clustering import report
from fiftyone_deepcluster.errors import CancelledError, InputError
from tests.dataset.small_runs import FROZEN
from tests.observers import Watcher


def test_existing_embeddings(make_digits):
    dataset = make_digits(40)
    vectors = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    vectors[:20] += 10
    dataset.set_values("emb", [None, *vectors[1:]])
    run = fdc.cluster(dataset, key="dc", embeddings_field="emb", **{**FROZEN, "n_clusters": 2})
    labels = dataset.values("dc.cluster")
    assert labels[0] is None
    assert len(set(labels[1:20])) == 1
    assert set(labels[20:]) == {1 - labels[1]}
    assert dataset.first().dc_error == "no vector in 'emb'"
    assert run.settings["embeddings_field"] == "emb"


@pytest.fixture
def two_fields(make_digits):
    """40 digits with vectors in the fields ``one`` and ``two``."""
    dataset = make_digits(40)
    for field in ("one", "two"):
        dataset.set_values(field, list(np.random.default_rng(0).random((40, 6)).astype(np.float32)))
    return dataset


@pytest.mark.parametrize(
    "given", [("one", "two"), np.array(["one", "two"]), {"one": 1, "two": 2}.keys(), iter(["one", "two"])]
)
def test_names_of_several_fields_are_stored_as_a_list(two_fields, given):
    run = fdc.cluster(two_fields, key="dc", embeddings_field=given, **FROZEN)
    assert run.settings["embeddings_field"] == ["one", "two"]
    assert fdc.load_run(two_fields, "dc").settings["embeddings_field"] == ["one", "two"]


def test_a_set_of_fields_is_refused(two_fields):
    given = {"one", "two"}
    for call in (
        lambda: fdc.cluster(two_fields, key="dc", embeddings_field=given, **FROZEN),
        lambda: fdc.recommend_number(two_fields, embeddings_field=given),
        lambda: fdc.audit_labels(two_fields, "ground_truth", embeddings_field=given),
    ):
        with pytest.raises(
            InputError, match=r"embeddings_field={.*} is a set, whose order differs .*give a list"
        ):
            call()
    assert fdc.list_runs(two_fields) == []


def test_the_choice_among_clusterings_is_kept_and_shown(make_digits):
    dataset = make_digits(60)
    dataset.set_values("emb", list(load_digits().data[:60].astype(np.float32)))
    clusterer = {"name": "best-of", "only": "pca-kmeans, spherical-kmeans"}
    run = fdc.cluster(dataset, key="dc", embeddings_field="emb", clusterer=clusterer, **FROZEN)
    details = fdc.load_run(dataset, "dc").record.rounds[-1].details
    assert details["candidate"] == ["pca-kmeans", "spherical-kmeans"]
    chosen = f"best-of chose {details['candidate'][details['rank'].index(1)]}: "
    for shown in (run.record.notes, facts(run)["warnings"], report(run).splitlines()):
        assert sum(line.startswith(chosen) for line in shown) == 1


def embedding_model():
    """A FiftyOne model whose embedding is the mean of each row of pixels."""
    import fiftyone as fo

    class Rows(fo.core.models.Model):
        media_type = "image"
        has_embeddings = True
        ragged_batches = False
        transforms = None
        preprocess = False

        def embed(self, image):
            return np.asarray(image, np.float32).mean((1, 2))

        def embed_all(self, images):
            return np.stack([self.embed(image) for image in images])

        def predict(self, arg):
            raise NotImplementedError

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

    class Embedding(Rows, fo.core.models.EmbeddingsMixin):
        pass

    return Embedding()


def test_a_fiftyone_model(make_digits, capsys):
    dataset = make_digits(20)
    run = fdc.cluster(dataset, key="dc", model=embedding_model(), **FROZEN)
    assert len(dataset.first().dc_embedding) == 8
    assert run.settings["model"] == "Embedding"
    assert capsys.readouterr().out == ""  # FiftyOne draws no bar of its own


def patches_of(dataset):
    import fiftyone as fo

    box = fo.Detection(label="digit", bounding_box=[0, 0, 1, 1])
    dataset.set_values("objects", [fo.Detections(detections=[box.copy(), box.copy()]) for _ in dataset])
    return dataset.to_patches("objects")


@pytest.mark.parametrize("patches", [False, True])
def test_a_model_reports_its_progress_and_can_be_cancelled(make_digits, patches):
    dataset = make_digits(20)
    samples = patches_of(dataset) if patches else dataset
    watcher, stopped = Watcher("embeddings"), Watcher("embeddings", after_steps=7)
    with pytest.raises(CancelledError, match="cancelled while the embeddings were computed"):
        fdc.cluster(samples, key="dc", model=embedding_model(), observer=stopped, **FROZEN)
    assert (stopped.total, stopped.steps) == (20, 7)
    assert fdc.list_runs(dataset) == []
    fdc.cluster(samples, key="second", model=embedding_model(), observer=watcher, **FROZEN)
    assert (watcher.total, watcher.steps) == (20, 20)


def test_an_audit_is_cancelled_while_a_model_computes_the_vectors(make_digits):
    dataset = make_digits(60)
    stopped = Watcher("embeddings", after_steps=7)
    with pytest.raises(CancelledError, match="cancelled while the embeddings were computed"):
        fdc.audit_labels(dataset, "ground_truth", model=embedding_model(), observer=stopped)
    assert (stopped.total, stopped.steps) == (60, 7)
    assert fdc.list_audits(dataset) == []
    assert not dataset.has_field("audit_p_wrong")


SELF_TRAINING = {
    "method": "self-training", "n_clusters": 3, "rounds": 1, "backbone": {"name": "small", "width": 8},
    "input_norm": "zscore", "image_size": 16, "encoder": {"name": "view-whitened", "views": 2},
    "clusterer": {"name": "consensus", "reducer": "identity", "runs": 2, "direct_runs": 2}, "epochs": 1, "min_steps": 4,
    "batch_size": 16, "device": "cpu", "progress": False, "compute_brain": False, "baselines": False,
}  # fmt: skip


def test_self_training_uses_vectors_beside_its_features_and_has_a_network(make_digits):
    dataset = make_digits(40)
    vectors = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    dataset.set_values("emb", [None, *vectors[1:]])
    run = fdc.cluster(dataset[:30], key="dc", embeddings_field="emb", **SELF_TRAINING)
    assert dataset.count("dc.label") == 30, "an image without a vector has a cluster"
    assert any("1 of 30 images has no given vector" in note for note in run.record.notes)
    assert len(dataset.first().dc_embedding) != 5
    assert fdc.assign(dataset[30:], "dc") == 10
    assert dataset.count("dc.label") == 40


def test_self_training_uses_a_fiftyone_model_beside_its_network(make_digits, tmp_path):
    dataset = make_digits(30)
    Image.new("L", (8, 8)).save(tmp_path / "black.png")  # the model gives it a vector of zeros, which is none
    dataset.set_values("filepath", [str(tmp_path / "black.png"), *dataset.values("filepath")[1:]])
    run = fdc.cluster(dataset, key="dc", model=embedding_model(), **SELF_TRAINING)
    assert (run.settings["model"], dataset.count("dc.label")) == ("Embedding", 30)
    assert any("1 of 30 images has no given vector" in note for note in run.record.notes)
    plain = fdc.cluster(dataset, key="plain", **SELF_TRAINING)
    assert len(dataset.first().dc_embedding) == len(dataset.first().plain_embedding), (
        "the network's own vectors"
    )
    assert not any("given vector" in note for note in plain.record.notes)


def test_a_run_with_a_model_resumes_without_it(make_digits):
    dataset = make_digits(30)
    given = {**SELF_TRAINING, "rounds": 2, "stop_nmi": None}
    stopped = fdc.cluster(
        dataset, key="dc", model=embedding_model(), observer=Watcher(after_rounds=1), **given
    )
    assert stopped.stop_reason == "cancelled"
    run = fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    assert len(run.rounds) == 2
    whole = fdc.cluster(dataset, key="whole", model=embedding_model(), **given)
    assert dataset.values("dc.cluster") == dataset.values("whole.cluster")
    assert whole.record.rounds[-1].scores == run.record.rounds[-1].scores


def test_a_run_with_a_field_beside_its_features_can_be_probed_and_resumed(make_digits):
    dataset = make_digits(40)
    dataset.set_values("emb", list(np.random.default_rng(0).standard_normal((40, 5))))
    given = {**SELF_TRAINING, "rounds": 2, "stop_nmi": None}
    fdc.cluster(dataset, key="dc", embeddings_field="emb", observer=Watcher(after_rounds=1), **given)
    fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    assert fdc.probe(dataset, "dc", "ground_truth", layers=["embedding"], folds=2)
    dataset.set_values("emb", list(np.random.default_rng(1).standard_normal((40, 5))))
    with pytest.raises(fdc.DeepClusterError, match="other given vectors"):
        fdc.resume(dataset, "dc", rounds=3, progress=False)


def test_a_field_with_several_vectors_is_refused_before_the_images_are_read(make_digits):
    dataset = make_digits(10)
    dataset.set_values("views", [np.ones((2, 4))] * 10)
    watcher = Watcher()
    with pytest.raises(InputError, match="embeddings_field='views' has 2 vectors for each image"):
        fdc.cluster(dataset, key="dc", embeddings_field="views", observer=watcher, **SELF_TRAINING)
    assert not watcher.phases


class Failing:
    """What an embedding model may do wrong."""

    @staticmethod
    def lengths(image):
        return np.ones(int(image.sum()) % 7 + 1)

    @staticmethod
    def text(image):
        return np.array(["a"])

    @staticmethod
    def too_large(image):
        return np.array([1e30, float(image[0, 0].sum())])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("lengths", "model='Embedding' gave no embeddings that can be used .*all of the same length"),
        ("text", "model='Embedding' gave no embeddings that can be used"),
        ("too_large", "model='Embedding' has values up to 1.0e.30, too large"),
    ],
)
def test_a_model_without_usable_embeddings_is_named(make_digits, monkeypatch, wrong, message):
    dataset, model = make_digits(20), embedding_model()
    embed = getattr(Failing, wrong)
    monkeypatch.setattr(type(model), "embed", lambda self, image: embed(np.asarray(image)), raising=False)
    monkeypatch.setattr(
        type(model), "embed_all", lambda self, images: [embed(np.asarray(one)) for one in images]
    )
    with pytest.raises(InputError, match=message):
        fdc.cluster(dataset, key="dc", model=model, **FROZEN)
    assert not dataset.has_field("dc")


def test_a_class_in_place_of_a_model_is_refused(make_digits):
    with pytest.raises(InputError, match=r"model=Embedding is a class; give a model, such as Embedding\(\)"):
        fdc.cluster(make_digits(5), key="dc", model=type(embedding_model()), **FROZEN)


def test_a_field_that_is_gone_is_named_by_resume(make_digits):
    dataset = make_digits(30)
    dataset.set_values("emb", list(np.random.default_rng(0).standard_normal((30, 5))))
    given = {**SELF_TRAINING, "rounds": 2, "stop_nmi": None}
    fdc.cluster(dataset, key="dc", embeddings_field="emb", observer=Watcher(after_rounds=1), **given)
    dataset.rename_sample_field("emb", "other")
    with pytest.raises(InputError, match="Run 'dc' was made with this field: restore it or rename it back"):
        fdc.resume(dataset, "dc", progress=False)


@pytest.mark.parametrize("scale", [1e30, 1e300])  # the latter are beyond float32, but finite
def test_values_out_of_range_are_refused_by_field(make_digits, scale):
    dataset = make_digits(30)
    dataset.set_values("huge", list(scale * np.random.default_rng(0).standard_normal((30, 5))))
    dataset.set_values("same", [np.ones(3)] * 30)
    for call in (
        lambda: fdc.cluster(dataset, key="dc", embeddings_field="huge", **SELF_TRAINING),
        lambda: fdc.recommend_number(dataset, embeddings_field="huge"),
    ):
        with pytest.raises(InputError, match=r"embeddings_field='huge' has values up to .*too large"):
            call()
    for call in (
        lambda: fdc.recommend_number(dataset, embeddings_field="same"),
        lambda: fdc.cluster(dataset, key="dc", embeddings_field="same", **FROZEN),
    ):
        with pytest.raises(InputError, match="embeddings_field='same' has the same vector for all images"):
            call()
    dataset.set_values("plain", list(np.random.default_rng(0).standard_normal((30, 5))))
    with pytest.raises(InputError, match="'hdbscan' determines the number of clusters itself"):
        fdc.recommend_number(dataset, embeddings_field="plain", clusterer="hdbscan")
