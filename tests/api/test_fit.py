"""``fit`` on real digits: reproducible, resumable, cancellable, with the right stop reason."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.notes import not_settled
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.progress import Fanout
from fiftyone_deepcluster.core.record import AgreementScores
from fiftyone_deepcluster.errors import (
    CancelledError,
    CheckpointError,
    DiskError,
    ImagesError,
    InputError,
    OptionsError,
)
from fiftyone_deepcluster.methods.base import parse_options
from tests.fits import FAST, same, some_digits
from tests.observers import Watcher


@pytest.fixture(scope="module")
def digits():
    return some_digits()


@pytest.fixture(scope="module")
def options():
    return fdc.DeepCluster(**FAST)


@pytest.fixture(scope="module")
def unbroken(digits, options, tmp_path_factory):
    return fdc.fit(digits[0], options, truth=digits[1], run_dir=tmp_path_factory.mktemp("unbroken"))


def test_shapes_and_record(unbroken, digits):
    n, record = len(digits[0]), unbroken.record
    assert unbroken.labels.shape == (n,)
    assert unbroken.labels.dtype == np.int64
    assert set(np.unique(unbroken.labels)) <= set(range(10))
    assert unbroken.embeddings.dtype == np.float32
    assert unbroken.round_labels.shape == unbroken.round_losses.shape == (n, 3)
    assert np.array_equal(unbroken.round_labels[:, -1], unbroken.labels)
    assert ((unbroken.confidence >= 0) & (unbroken.confidence <= 1)).all()
    assert (unbroken.distance >= 0).all()
    assert record.stop_reason is fdc.StopReason.ROUNDS_DONE
    assert [entry.index for entry in record.rounds] == [0, 1, 2]
    for entry in record.rounds:
        assert entry.truth.acc <= entry.truth.purity
        assert {"train", "embed", "cluster"} <= set(entry.seconds)
        assert entry.change is not None
        assert entry.loss > 0
    again = fdc.RunRecord.model_validate_json(record.model_dump_json())
    assert again == record
    assert parse_options(record.options["name"], record.options) == fdc.DeepCluster(**FAST)


def test_same_seed_same_clusters_other_seed_others(unbroken, digits, options):
    assert same(unbroken, fdc.fit(digits[0], options, truth=digits[1]))
    other = fdc.fit(digits[0], options.model_copy(update={"seed": 52}))
    assert not np.array_equal(unbroken.labels, other.labels)


def test_truth_is_measured_and_never_used(unbroken, digits, options):
    shuffled = np.random.default_rng(0).permutation(digits[1])
    found = fdc.fit(digits[0], options, truth=list(shuffled))
    assert same(unbroken, found)
    assert found.record.rounds[-1].truth.nmi < unbroken.record.rounds[-1].truth.nmi


@pytest.mark.parametrize("asked", [0, 5])
def test_a_cancelled_and_resumed_run_equals_an_uninterrupted_one(unbroken, digits, options, tmp_path, asked):
    cut = fdc.fit(
        digits[0], options, truth=digits[1], run_dir=tmp_path, observer=Watcher(after_rounds=2, checks=asked)
    )
    assert cut.record.stop_reason is fdc.StopReason.CANCELLED
    assert len(cut.record.rounds) == 2
    assert np.array_equal(cut.round_labels, unbroken.round_labels[:, :2])
    whole = fdc.fit(digits[0], options, truth=digits[1], run_dir=tmp_path)
    assert same(whole, unbroken)
    assert whole.record.stop_reason is fdc.StopReason.ROUNDS_DONE


def test_a_finished_run_can_be_continued_with_more_rounds(unbroken, digits, options, tmp_path):
    two = options.model_copy(update={"rounds": 2})
    fdc.fit(digits[0], two, run_dir=tmp_path)
    assert same(fdc.fit(digits[0], options, run_dir=tmp_path), unbroken)


def test_cancelling_before_the_first_round_raises_and_leaves_no_model(digits, options, tmp_path):
    with pytest.raises(CancelledError):
        fdc.fit(digits[0], options, run_dir=tmp_path, observer=Watcher(after_rounds=0))
    assert not (tmp_path / checkpoints.MODEL).exists()


def test_checkpoint_of_another_run_is_refused(digits, options, unbroken):
    with pytest.raises(CheckpointError, match=r"other options \(seed\); .*in FiftyOne, cluster again"):
        fdc.fit(digits[0], options.model_copy(update={"seed": 1}), run_dir=unbroken.run_dir)
    with pytest.raises(CheckpointError, match="other images"):
        fdc.fit(digits[0][:300], options, run_dir=unbroken.run_dir)


def test_broken_checkpoint_is_named(digits, options, tmp_path):
    (tmp_path / checkpoints.CHECKPOINT).write_bytes(b"half of a file")
    with pytest.raises(CheckpointError, match="cannot be read"):
        fdc.fit(digits[0], options, run_dir=tmp_path)


def test_a_save_that_fails_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / checkpoints.CHECKPOINT
    checkpoints.save(path, {"value": torch.arange(3)})

    class Unpicklable:
        def __reduce__(self):
            raise OSError("disk full")

    with pytest.raises(DiskError, match="disk full"):
        checkpoints.save(path, {"value": Unpicklable()})
    assert torch.equal(checkpoints.load(path)["value"], torch.arange(3))
    assert list(tmp_path.iterdir()) == [path]


def test_predict_gives_the_images_of_the_run_their_nearest_cluster(unbroken, digits):
    found = fdc.predict(unbroken.run_dir, digits[0])
    np.testing.assert_allclose(found.embeddings, unbroken.embeddings, atol=1e-5)
    assert (found.labels == unbroken.labels).mean() > 0.95
    with pytest.raises(CheckpointError, match="cannot be read"):
        fdc.predict(unbroken.run_dir / "nowhere", digits[0])


def test_divergence_is_a_stop_reason_and_the_last_valid_state_is_kept(digits, options):
    wild = options.model_copy(update={"learning_rate": 1e30, "rounds": 6})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy on the way to infinity
        found = fdc.fit(digits[0], wild)
    assert found.record.stop_reason in (fdc.StopReason.DIVERGED, fdc.StopReason.COLLAPSED)
    assert found.record.notes
    assert np.isfinite(found.embeddings).all()
    assert len(np.unique(found.labels)) > 1


def test_identical_images_end_as_collapsed():
    images = np.full((60, 16, 16), 77, np.uint8)
    found = fdc.fit(images, fdc.DeepCluster(**{**FAST, "n_clusters": 3, "pseudo_clusters": 3}))
    assert found.record.stop_reason is fdc.StopReason.COLLAPSED
    assert "one cluster" in found.record.notes[0]


@pytest.mark.parametrize("clusterer", ["kmeans", "best-of", "consensus"])
def test_images_that_are_all_the_same_are_one_cluster_with_a_note(clusterer):
    found = fdc.fit(
        np.full((60, 16, 16), 77, np.uint8), fdc.Frozen(n_clusters=3, clusterer=clusterer, baselines=False)
    )
    assert (found.labels == 0).all()
    assert any(
        "all 60 images are in one cluster: their vectors are the same" in note for note in found.record.notes
    )
    last = found.record.rounds[-1]
    assert not {"runs", "candidate"} & (last.scores.keys() | last.details.keys()), "nothing is to be compared"


def test_vectors_that_are_all_the_same_are_refused():
    for equal in (np.ones((60, 5), np.float32), np.ones((60, 2, 5), np.float32)):
        with pytest.raises(OptionsError, match="features has the same vector for all images"):
            fdc.fit(None, fdc.Frozen(n_clusters=3, clusterer="best-of"), features=equal)
    with pytest.raises(InputError, match="all 60 vectors are the same, so there are no clusters to compare"):
        fdc.try_clusterings(np.ones((60, 5)), 3)


def test_out_of_time_stops_after_a_round(digits, options):
    found = fdc.fit(digits[0], options.model_copy(update={"max_minutes": 1e-6}))
    assert found.record.stop_reason is fdc.StopReason.OUT_OF_TIME
    assert len(found.record.rounds) == 1


def test_unreadable_files_get_no_cluster(digits, tmp_path, options):
    paths = []
    for i, image in enumerate(digits[0][:60]):
        paths.append(tmp_path / f"{i:03d}.png")
        Image.fromarray(image).save(paths[-1])
    paths[7].write_bytes(b"not an image")
    paths.insert(20, tmp_path / "missing.png")
    small = options.model_copy(update={"n_clusters": 4, "pseudo_clusters": 6, "rounds": 1})
    found = fdc.fit(paths, small, truth=[None, *range(60)])
    assert sorted(found.errors) == [7, 20]
    assert found.record.n_failed == 2
    assert found.record.n_images == 59
    assert (np.flatnonzero(found.labels < 0) == [7, 20]).all()
    assert np.isnan(found.confidence[[7, 20]]).all()
    assert not found.embeddings[[7, 20]].any()
    assert (found.round_labels[[7, 20]] == -1).all()
    with pytest.raises(ImagesError):
        fdc.fit([tmp_path / "missing.png"] * 5, small)


def test_boxes_of_one_file_are_clustered_like_separate_images(digits, tmp_path):
    images = digits[0][:40]
    Image.fromarray(np.hstack(list(images))).save(tmp_path / "sheet.png")
    boxes = [(row / 40, 0.0, 1 / 40, 1.0) for row in range(40)]
    refs = [fdc.ImageRef(str(tmp_path / "sheet.png"), box) for box in boxes]
    options = fdc.Frozen(n_clusters=5, baselines=False)
    assert same(fdc.fit(refs, options), fdc.fit(images, options))


def test_frozen_on_pixels_equals_kmeans_on_pixels(digits):
    found = fdc.fit(digits[0], fdc.Frozen(n_clusters=10, baselines=False), truth=digits[1])
    assert found.record.stop_reason is fdc.StopReason.TASK_FINISHED
    assert len(found.record.rounds) == 1
    assert found.record.rounds[0].truth.nmi > 0.6
    assert found.record.rounds[0].loss is None
    assert sum(found.record.rounds[0].seconds.values()) > 0, "nothing is trained; only clustering took time"


@pytest.mark.parametrize(("nmi", "texts"), [(0.9199, ["NMI 0.919 (settled runs reach 0.92)"]), (0.92, [])])
def test_a_low_nmi_of_the_last_rounds_gives_a_note(nmi, texts):
    change = AgreementScores(nmi=nmi, ari=0.9, purity=0.9, acc=0.9)
    notes = not_settled([fdc.Round(index=1, change=change)], fdc.StopReason.ROUNDS_DONE, {"n_clusters"})
    assert len(notes) == len(texts)
    assert all(text in note for text, note in zip(texts, notes, strict=True))
    assert all(note.endswith("and try more rounds or another n_clusters") for note in notes)


def test_frozen_on_given_features_leaves_out_rows_without_one(digits):
    features = digits[0].reshape(400, -1).astype(np.float32) / 255
    features[3] = np.nan
    found = fdc.fit(digits[0], fdc.Frozen(n_clusters=10, baselines=False), features=features)
    assert list(found.errors) == [3]
    assert found.labels[3] == -1
    with pytest.raises(OptionsError, match="method='frozen'"):
        fdc.fit(digits[0], fdc.DeepCluster(**FAST), features=features)


def test_an_unused_n_clusters_gives_a_note(digits):
    options = fdc.Frozen(n_clusters=3, clusterer={"name": "hdbscan", "min_cluster_size": 5}, baselines=False)
    features = digits[0][:100].reshape(100, -1).astype(np.float32)
    for given in (None, features):
        notes = fdc.fit(digits[0][:100], options, features=given).record.notes
        assert any("n_clusters=3 was not used" in note for note in notes)


def test_errors_name_value_need_and_way_out(digits):
    images = digits[0][:30]
    with pytest.raises(OptionsError, match="n_clusters=40 is more than the 30 images"):
        fdc.fit(images, fdc.Frozen(n_clusters=40))
    with pytest.raises(OptionsError, match="among the methods; did you mean 'deepcluster'"):
        fdc.fit(images, "deepclustre")
    with pytest.raises(OptionsError, match="n_clusters=None: the clusterer 'kmeans' needs a number"):
        fdc.fit(images, parse_options("frozen", {"n_clusters": None}))
    with pytest.raises(OptionsError, match="neither a name nor an Options object"):
        fdc.fit(images, {"n_clusters": 3})
    with pytest.raises(ImagesError, match="not a list of images"):
        fdc.fit(None, "frozen")
    with pytest.raises(OptionsError, match="features has 20 rows, but images has 30 entries"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), features=np.zeros((20, 4), np.float32))
    with pytest.raises(OptionsError, match="features='x' is not numeric"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), features="x")
    with pytest.raises(OptionsError, match=r"features has values up to 1\.0e\+30"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), features=np.full((30, 4), 1e30, np.float32))
    with pytest.raises(OptionsError, match=r"known=\{\} is not a Known object"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), known={})
    with pytest.raises(OptionsError, match="truth is unknown for all 30 images"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), truth=[float("nan")] * 30)
    with pytest.raises(OptionsError, match="no option 'n_cluster'; did you mean 'n_clusters'"):
        parse_options("deepcluster", {"n_cluster": 3})
    with pytest.raises(OptionsError, match="learning_rate=-1"):
        parse_options("deepcluster", {"learning_rate": -1})
    with pytest.raises(OptionsError, match="truth has 2 entries for 30 images"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), truth=[1, 2])
    with pytest.raises(OptionsError, match="truth=7 is not a list for 30 images"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), truth=7)
    with pytest.raises(InputError, match="observer=5 is not an Observer"):
        fdc.fit(images, fdc.Frozen(n_clusters=3), observer=5)
    with pytest.raises(OptionsError, match="pseudo_clusters=3 is less than n_clusters=5"):
        fdc.fit(images, fdc.DeepCluster(n_clusters=5, pseudo_clusters=3))
    with pytest.raises(OptionsError, match="pixel_clusters=90 is more than the 30 images"):
        fdc.fit(images, fdc.UCNN(n_clusters=3, pixel_clusters=90))
    with pytest.raises(OptionsError, match="torch finds"):
        fdc.fit(images, fdc.Frozen(n_clusters=3, device="cuda:99"))
    with pytest.raises(OptionsError, match="needs a GPU"):
        fdc.fit(images, fdc.Frozen(n_clusters=3, device="cpu", precision="float16"))


def test_fanout_forwards_to_all_and_cancels_if_any_does():
    watcher = Watcher()
    both = Fanout([watcher, Watcher(after_rounds=0)])
    both.phase("embed", 1)
    assert watcher.names == ["embed"]
    assert both.cancelled()


def test_every_method_resolves_to_itself_and_survives_json(digits):
    from fiftyone_deepcluster.images.inspect import image_facts

    facts = image_facts(digits[0])
    for name, options_type in fdc.list_methods().items():
        resolved = options_type().resolve(facts)
        assert resolved.resolve(facts) == resolved, name
        # auto hands over to another method
        assert parse_options(resolved.name, resolved.model_dump(mode="json")) == resolved, name
        assert options_type.__doc__
        assert all(field.description for key, field in options_type.model_fields.items() if key != "name"), (
            name
        )


@pytest.mark.parametrize("name", sorted(fdc.list_methods()))
def test_options_that_were_stored_or_changed_resolve_as_at_first(name, digits):
    from fiftyone_deepcluster.images.inspect import ImageFacts, image_facts

    options_type = fdc.list_methods()[name]
    large = ImageFacts(n=3000, side=300, gray=False, height=300, width=300)
    given = [{}] + [{"n_clusters": None}] * (
        "n_clusters" in options_type.model_fields and name in ("auto", "ldpo")
    )
    for facts in (image_facts(digits[0]), large):
        for values in given:
            options = options_type(**values)
            stored = parse_options(name, json.loads(json.dumps(options.as_given())))
            assert stored.resolve(facts) == options.resolve(facts)
            assert stored.planned_rounds == options.planned_rounds
            changed = parse_options(options, {"seed": 3})
            assert changed.resolve(facts) == options_type(**values, seed=3).resolve(facts)


@pytest.mark.parametrize(
    "method", ["deepcluster", "deepcluster-manifold", "deepcluster-v2", "ldpo", "dac", "cardiac-mr"]
)
def test_too_large_min_steps_are_refused(method):
    with pytest.raises(OptionsError, match="min_steps"):
        parse_options(method, {"n_clusters": 3, "min_steps": 10**12})
