"""Self-training on digits: what is trained, on which images, and by what the clusters are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.clusterers.linear_accuracy import SAMPLED_IMAGES
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.errors import CheckpointError, ImagesError, OptionsError
from fiftyone_deepcluster.features import cached_maps
from fiftyone_deepcluster.features.base import Encoding
from fiftyone_deepcluster.features.view_outputs import FEATURES, view_outputs
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.metrics.agreement import agreement
from fiftyone_deepcluster.pseudo_labels.first_clusters import FirstClusters
from fiftyone_deepcluster.pseudo_labels.other_vectors import joined_with, voted
from fiftyone_deepcluster.training import loop

CONSENSUS = {"name": "consensus", "reducer": "identity", "runs": 3, "direct_runs": 3}


@pytest.fixture(scope="module")
def digits():
    """(120, 8, 8) uint8 of five classes."""
    return (load_digits(n_class=5).images[:120] * 15.9375).astype(np.uint8)


def options(**values):
    values = {
        "n_clusters": 5, "rounds": 2, "backbone": {"name": "small", "width": 8}, "input_norm": "zscore",
        "image_size": 24, "encoder": {"name": "view-whitened", "views": 3, "layer": "auto"}, "clusterer": CONSENSUS,
        "epochs": 1, "min_steps": 8, "batch_size": 32, "baselines": False, "precision": "float32",
        "stop_nmi": None, "device": "cpu", "plain_start": False, "keep_first": False, **values,
    }  # fmt: skip
    return fdc.SelfTraining(**values)


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return fdc.fit(digits, options(), run_dir=folder), folder


def test_clusters_are_those_of_the_head_over_all_views(run, digits):
    result, folder = run
    with reopen(folder, digits) as reopened:
        corpus, network = reopened.trained, reopened.trained.network
        views = reopened.options.encoder.view_settings
        with torch.no_grad():
            parts = [
                network.outputs_of(features).logits.softmax(2).mean(0)
                for _, (features,) in view_outputs(corpus, views, [FEATURES])
            ]
    probabilities = torch.cat(parts)
    np.testing.assert_allclose(result.confidence, probabilities.max(dim=1).values, atol=1e-4)
    by_head = probabilities.argmax(dim=1).numpy()
    pairs = set(zip(by_head.tolist(), result.labels.tolist(), strict=True))
    assert len(pairs) == len(set(by_head.tolist())) == result.record.n_clusters, "the same clusters"
    scores = result.record.rounds[-1].scores
    assert scores["cached_maps"] == 1.0
    said = [note for note in result.record.notes if "lowest objective" in note]
    assert len(said) == (scores["modes"] > 1)
    assert all(f"{scores['kept']:.0f} of 6 clusterings" in note for note in said)


@pytest.mark.parametrize(
    ("values", "frozen"),
    [
        ({}, 2),  # digits of 8 pixels are enlarged to 24
        ({"trained_stages": 1}, 4),
        ({"trained_stages": 3}, 2),  # the backbone has no layer below three stages
        ({"layer": "conv3"}, 3),
    ],
)
def test_only_the_layers_above_the_cut_are_trained(values, frozen, digits, tmp_path):
    fdc.fit(digits, options(rounds=1, **values), run_dir=tmp_path)
    with reopen(tmp_path, digits) as reopened:
        before = dict(reopened.initial.network.named_parameters())
        after = dict(reopened.trained.network.named_parameters())
    same = {name for name, weights in before.items() if torch.equal(weights, after[name])}
    convolutions = [f"backbone.layers.{i}.weight" for i in (0, 3, 7, 10, 14)]
    assert [name for name in convolutions if name in same] == convolutions[:frozen]
    norms = {f"backbone.layers.{i}.weight" for i in (1, 4, 8, 11, 15)}
    assert norms <= same, "batch norm is frozen everywhere"


@pytest.mark.parametrize(("side", "stages"), [(15, 1), (16, 1), (17, 1), (31, 1), (32, 2), (33, 2)])
def test_one_more_stage_is_trained_where_images_are_enlarged_to_twice_their_size(side, stages, digits):
    images = digits.repeat(2, axis=1).repeat(2, axis=2)
    assert images.shape[1:] == (16, 16)
    assert options(image_size=side).resolve(image_facts(images)).trained_stages == stages
    chosen = options(image_size=side).chosen_for(image_facts(images), accelerated=False)
    assert chosen.trained_stages == stages
    assert chosen.trained_share == pytest.approx(0.05 * stages), "for the estimated time"


def test_a_layer_and_a_number_of_stages_exclude_each_other(digits):
    with pytest.raises(
        OptionsError, match=r"layer='conv3' and trained_stages=2 both say what is trained; give one"
    ):
        options(layer="conv3", trained_stages=2).resolve(image_facts(digits))
    assert options(layer="conv3").resolve(image_facts(digits)).trained_stages is None


def test_a_resumed_run_ends_as_one_without_a_break(run, digits, tmp_path):
    fdc.fit(digits, options(rounds=1), run_dir=tmp_path)
    resumed = fdc.fit(digits, options(rounds=2), run_dir=tmp_path)
    np.testing.assert_array_equal(resumed.labels, run[0].labels)
    np.testing.assert_allclose(resumed.embeddings, run[0].embeddings, atol=1e-5)


def test_a_run_of_a_version_without_stages_goes_on_with_one(digits, tmp_path):
    """Also of images that are enlarged to three times their size, of which two are trained now."""
    expected = fdc.fit(digits, options(trained_stages=1))
    fdc.fit(digits, options(rounds=1, trained_stages=1), run_dir=tmp_path)
    state = checkpoints.load(tmp_path / checkpoints.CHECKPOINT)
    del (
        state["format"],
        state["fingerprint"]["options"]["trained_stages"],
        state["resolved"]["trained_stages"],
    )
    checkpoints.save(tmp_path / checkpoints.CHECKPOINT, state)
    resumed = fdc.fit(digits, options(), run_dir=tmp_path)
    assert resumed.record.resolved["trained_stages"] is None
    np.testing.assert_array_equal(resumed.embeddings, expected.embeddings)


def test_images_are_trained_on_where_there_is_no_room_for_maps(digits, monkeypatch):
    monkeypatch.setattr(cached_maps, "_MEMORY_SHARE", 0.0)
    monkeypatch.setattr(cached_maps, "_DISK_SHARE", 0.0)
    result = fdc.fit(digits, options(rounds=1))
    assert result.record.rounds[-1].scores["cached_maps"] == 0.0
    assert (result.labels >= 0).all()


def test_maps_are_kept_in_a_file_where_memory_is_short(run, digits, monkeypatch):
    monkeypatch.setattr(cached_maps, "_MEMORY_SHARE", 0.0)
    np.testing.assert_array_equal(fdc.fit(digits, options()).labels, run[0].labels)


def test_training_on_the_heads_labels_needs_no_second_clustering(digits):
    result = fdc.fit(digits, options(recluster=False))
    assert len(result.record.rounds) == 2
    assert "cluster" not in result.record.rounds[1].seconds


def test_the_best_of_several_clusterings_is_named_in_a_note_also_after_a_break(digits, tmp_path):
    clusterer = {"name": "best-of", "only": "pca-kmeans, spherical-kmeans"}
    fdc.fit(digits, options(rounds=1, clusterer=clusterer, recluster=False), run_dir=tmp_path)
    record = fdc.fit(digits, options(clusterer=clusterer, recluster=False), run_dir=tmp_path).record
    details = record.rounds[-1].details
    assert details["candidate"] == ["pca-kmeans", "spherical-kmeans"]
    chosen = details["candidate"][details["rank"].index(1)]
    assert any(note.startswith(f"best-of chose {chosen}: ") for note in record.notes)


def test_fast_takes_fewer_views_and_runs(digits):
    resolved = options(fast=True, encoder="view-whitened", clusterer="consensus").resolve(image_facts(digits))
    assert (resolved.encoder.views, resolved.clusterer.runs) == (4, 6)


def test_an_encoder_without_views_is_refused_and_random_weights_are_noted(digits):
    with pytest.raises(OptionsError, match="use 'view-whitened'"):
        options(encoder="pooled").resolve(image_facts(digits))
    (remark,) = options().remarks(image_facts(digits))
    assert "random weights" in remark
    assert not options(weights="w.pth").remarks(image_facts(digits))


def classes_of(digits):
    return load_digits(n_class=5).target[: len(digits)]


def test_given_vectors_take_part_in_the_clustering_and_new_images_need_none(digits, tmp_path):
    classes = classes_of(digits)
    known = fdc.Known(other_vectors=np.eye(5, dtype=np.float32)[classes])
    alone = fdc.fit(digits, options(), truth=classes)
    both = fdc.fit(digits, options(other_weight=3), truth=classes, known=known, run_dir=tmp_path)
    assert both.record.rounds[-1].truth.acc > alone.record.rounds[-1].truth.acc
    assert both.embeddings.shape == alone.embeddings.shape, "the embeddings are the network's own"
    new = fdc.predict(tmp_path, digits)
    assert new.embeddings.shape == both.embeddings.shape
    assert (new.labels == both.labels).mean() > 0.9, "the nearest center, not the head"
    resumed = fdc.fit(digits, options(other_weight=3), truth=classes, known=known, run_dir=tmp_path)
    np.testing.assert_array_equal(resumed.labels, both.labels)
    with pytest.raises(CheckpointError):
        fdc.fit(digits, options(other_weight=3), truth=classes, run_dir=tmp_path)


def test_the_first_clusters_are_found_in_the_joined_vectors(run, digits):
    classes = classes_of(digits)
    with torch.random.fork_rng(), reopen(run[1], digits) as reopened:
        corpus, options = reopened.initial, reopened.options.model_copy(update={"other_weight": 100.0})
        corpus.other_vectors = 7 + 100 * np.eye(5, dtype=np.float32)[classes]
        found = options.build().training_spec.task.assign(corpus)
    assert agreement(found.labels, classes).acc == 1.0
    assert found.centers.shape[1] == found.embeddings.shape[1] == run[0].embeddings.shape[1]


def test_joined_vectors_have_the_given_weight_and_miss_nothing_but_what_is_missing():
    random = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(6, 5, generator=random))
    others = 50 + np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    others[2] = np.nan
    encoding = Encoding(vectors, {}, widths=(4, 1))
    joined = joined_with(encoding, others, 0.5)
    first, given, last = joined.vectors.split([4, 3, 1], dim=1)
    assert joined.widths == (7, 1)
    torch.testing.assert_close(joined.vectors.norm(dim=1), torch.ones(6))
    assert (given[2] == 0).all()
    torch.testing.assert_close(torch.cat([first, last], dim=1)[2], vectors[2])
    ratio = given.norm(dim=1) / torch.cat([first, last], dim=1).norm(dim=1)
    rows = [0, 1, 3, 4, 5]
    torch.testing.assert_close(ratio[rows], (0.5 * vectors[:, :4].norm(dim=1).mean()).expand(5))
    cosines = torch.nn.functional.cosine_similarity(given[rows][:, None], given[rows][None], dim=2)
    assert cosines.min() < 0, "their common mean is taken off"
    assert joined_with(encoding, None, 0.5) is encoding


def test_images_without_a_given_vector_are_noted_and_clustered(digits):
    others = np.random.default_rng(0).normal(size=(len(digits), 3)).astype(np.float32)
    others[:7] = np.nan
    result = fdc.fit(digits, options(rounds=1), known=fdc.Known(other_vectors=others))
    assert (result.labels >= 0).all()
    assert any("7 of 120 images have no given vector" in note for note in result.record.notes)


@pytest.mark.parametrize(
    ("others", "method", "said"),
    [
        (
            np.zeros((3, 2)),
            None,
            r"other_vectors has shape \(3, 2\) for 120 images; give \(120, dimensions\)",
        ),
        (np.full((120, 2), np.nan), None, "none of the 120 rows of other_vectors is finite"),
        (np.zeros((120, 2, 2)), None, "give .120, dimensions."),
        (np.full((120, 2), 3.0), None, "other_vectors has the same vector for all images"),
        (np.full((120, 2), 1e20), None, r"other_vectors has values up to 1.0e\+20"),
        (torch.ones(120, 2, requires_grad=True), None, "other_vectors=.* is not numeric"),
        ([["a"]] * 120, None, r"other_vectors holds texts .*; give numbers"),
        (np.zeros((120, 2)), "deepcluster", "'deepcluster' does not use .*method='self-training'"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused(digits, others, method, said):
    with pytest.raises(OptionsError, match=said):
        fdc.fit(digits, method or options(), known=fdc.Known(other_vectors=others))


def parameters_of(network):
    return {name: values.detach().clone() for name, values in network.backbone.named_parameters()}


def test_clusters_and_network_of_before_training_are_kept_where_it_does_not_improve_them(digits, tmp_path):
    classes = classes_of(digits)
    # The first clusters are the classes, which the small random network cannot improve.
    known = fdc.Known(other_vectors=np.eye(5, dtype=np.float32)[classes])
    values = {"other_weight": 0.9, "learning_rate": 50, "average": 0, "rounds": 1}
    after = fdc.fit(digits, options(**values), truth=classes, known=known)
    values["keep_first"] = True
    kept = fdc.fit(digits, options(**values), truth=classes, known=known, run_dir=tmp_path)
    assert agreement(after.labels, classes).acc < 1
    assert agreement(kept.labels, classes).acc == kept.record.rounds[-1].truth.acc == 1
    scores = kept.record.rounds[-1].scores
    assert scores["information"] < scores["information_first"]
    assert scores["information_first"] == pytest.approx(np.log(5), abs=0.1), "in the joined vectors"
    assert kept.record.rounds[-1].change.nmi == after.record.rounds[-1].change.nmi < 1
    (note,) = [note for note in kept.record.notes if "did not improve" in note]
    assert f"{scores['information_first']:.3f}" in note
    assert not any("had not settled" in note for note in kept.record.notes)
    assert not any("did not improve" in note for note in after.record.notes)
    with torch.random.fork_rng(), reopen(tmp_path, digits) as reopened:
        first, now = parameters_of(reopened.initial.network), parameters_of(reopened.trained.network)
        vectors = reopened.initial_vectors().numpy()
        assert reopened.trained.network.head is None, "it was trained on another backbone"
    assert all(torch.equal(weights, now[name]) for name, weights in first.items())
    np.testing.assert_allclose(kept.embeddings, vectors, atol=1e-5)
    np.testing.assert_allclose(fdc.predict(tmp_path, digits).embeddings, vectors, atol=1e-5)
    again = fdc.fit(digits, options(**values), truth=classes, known=known, run_dir=tmp_path)
    np.testing.assert_array_equal(again.labels, kept.labels)


def test_the_last_valid_round_is_compared_where_a_later_one_diverges(run, digits):
    with torch.random.fork_rng(), reopen(run[1], digits) as reopened:
        spec = reopened.options.model_copy(update={"keep_first": True}).build().training_spec
        assign, calls = spec.task.assign, []

        def diverging(corpus):
            calls.append(corpus)
            if len(calls) > 2:
                raise ImagesError("the network's features contain NaN")
            return assign(corpus)

        spec.task.assign = diverging
        state = loop.run(spec, reopened.initial, loop.LoopSettings(rounds=3, seed=0))
    assert (state.stop_reason, len(state.rounds)) == ("diverged", 1)
    assert {"information", "information_first"} <= state.rounds[0].scores.keys()


def test_the_state_of_an_older_version_is_refused():
    assert fdc.SelfTraining().keep_first
    with torch.random.fork_rng():
        task = options().resolve(image_facts(np.zeros((50, 8, 8), np.uint8))).build().training_spec.task
    with pytest.raises(CheckpointError, match="older version of self-training"):
        task.load_state_dict({"pseudo": torch.zeros(3), "votes": {}, "reduction": None})


def test_a_resumed_run_compares_with_the_first_clusters(digits, tmp_path):
    known = fdc.Known(other_vectors=np.eye(5, dtype=np.float32)[classes_of(digits)])
    values = {"other_weight": 0.9, "learning_rate": 50, "average": 0, "keep_first": True}
    whole = fdc.fit(digits, options(**values), known=known)
    fdc.fit(digits, options(**values, rounds=1), run_dir=tmp_path, known=known)
    resumed = fdc.fit(digits, options(**values), run_dir=tmp_path, known=known)
    assert whole.record.rounds[-1].scores["information_first"] > 0
    for one, other in zip(whole.record.rounds, resumed.record.rounds, strict=True):
        assert one.scores == other.scores
    np.testing.assert_array_equal(whole.labels, resumed.labels)


def first_clusters(labels, vectors):
    with torch.random.fork_rng():
        network = options().resolve(image_facts(np.zeros((50, 8, 8), np.uint8))).build().network
    found = CLUSTERERS.parse("kmeans").cluster(vectors, ClusterRequest(2, 0))
    return FirstClusters.of(replace(found, labels=labels), vectors, network, seed=0)


def test_information_falls_as_clusters_are_mixed_and_is_no_reward_for_few_clusters():
    digits = load_digits()
    vectors = torch.from_numpy(digits.data.astype(np.float32))
    labels = torch.from_numpy(digits.target)
    first = first_clusters(labels, vectors)
    mixed = labels.clone()
    mixed[::5] = labels[::5].roll(1)
    values = [
        first.compare(each)[0] for each in (labels, labels.clamp(min=3), mixed, torch.zeros_like(labels))
    ]
    assert first.compare(labels)[1] == values[0]
    assert np.log(10) > values[0] > values[1] > values[2] > values[3] == 0
    again = FirstClusters(**first.state_dict())
    assert again.compare(mixed) == first.compare(mixed)
    many = first_clusters(labels.repeat(2), vectors.repeat(2, 1))
    assert len(many.rows) == len(many.points) == SAMPLED_IMAGES


def test_clusterings_with_noise_or_many_clusters_are_not_compared():
    digits = load_digits()
    vectors, labels = torch.from_numpy(digits.data.astype(np.float32)), torch.from_numpy(digits.target)
    noise = labels.where(labels > 0, -1)
    assert first_clusters(noise, vectors).compare(labels) is None
    assert first_clusters(labels, vectors).compare(noise) is None
    many = torch.arange(len(labels)) % 100
    assert first_clusters(many, vectors).compare(labels) is None
    rare = labels.clone()
    rare[:2] = 10
    same_images = first_clusters(rare, vectors).compare(labels)
    assert same_images[0] == same_images[1], "the images of the small cluster are left out of both"


def test_a_linear_classifier_of_other_vectors_votes_but_not_on_its_own_labels():
    digits = load_digits(n_class=4)
    truth = torch.from_numpy(digits.target)
    random = torch.Generator().manual_seed(0)
    probabilities = torch.full((len(truth), 4), 0.1)
    probabilities[torch.arange(len(truth)), truth] = 0.7
    doubtful = torch.randperm(len(truth), generator=random)[:70]
    wrong = (truth[doubtful] + 1) % 4
    probabilities[doubtful] = 0.2
    probabilities[doubtful, wrong] = 0.4
    others = digits.data.astype(np.float32)
    others[doubtful[:5].numpy()] = np.nan
    found = voted(probabilities, others, 0.5, share=0.8, seed=0)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(truth)))
    torch.testing.assert_close(found[doubtful[:5]], probabilities[doubtful[:5]])
    right = found.argmax(dim=1) == truth
    assert right[doubtful[5:]].float().mean() > 0.9, "the vote corrects the head"
    assert not right[doubtful[:5]].any(), "without a vector there is no vote"
    little = voted(probabilities, others, 1e-6, share=0.8, seed=0)
    torch.testing.assert_close(little, probabilities, atol=1e-4, rtol=0)
    noise = np.random.default_rng(0).normal(size=(len(truth), 400)).astype(np.float32)
    sure = voted(torch.eye(4)[(truth + 1) % 4], others, 100.0, share=0.8, seed=0)
    assert torch.isfinite(sure).all(), "the head is certain of one cluster, the classifier of another"
    by_noise = voted(
        torch.full((len(truth), 4), 0.25) + 0.01 * torch.eye(4)[truth], noise, 1.0, share=1.0, seed=0
    )
    assert (by_noise.argmax(dim=1) == truth).float().mean() < 0.5, "an image's own label has no vote"


def test_the_head_and_given_vectors_vote_on_the_labels(run, digits):
    with torch.random.fork_rng(), reopen(run[1], digits) as reopened:
        corpus, task = reopened.trained, reopened.options.build().training_spec.task
        task.load_state_dict({"pseudo": torch.zeros(1), "scores": {}, "details": {},
                              "first": None, "reduction": None})  # fmt: skip
        alone = task.assign(corpus)
        doubtful = np.argsort(alone.confidence)[:20]
        others = alone.labels.copy()
        others[doubtful] = (others[doubtful] + 1) % 5
        corpus.other_vectors = np.eye(5, dtype=np.float32)[others]
        both = task.assign(corpus)
    assert agreement(alone.labels, run[0].labels).acc == 1
    assert agreement(alone.labels, others).acc < agreement(both.labels, others).acc


def test_clusters_of_few_images_are_noted_as_not_compared(digits):
    result = fdc.fit(digits, options(keep_first=True, rounds=1, n_clusters=10))
    assert any("is not known: they have noise" in note for note in result.record.notes)
    assert "information" not in result.record.rounds[-1].scores
