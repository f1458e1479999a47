"""Analyses of a run on a dataset: probes, retrieval and filters, stored with the run."""

from __future__ import annotations

import uuid

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField
from PIL import Image

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.results.filters import stored_filters
from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors, stored_scores
from fiftyone_deepcluster.dataset.results.probes import stored_layers, stored_probe
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.errors import ImagesError, InputError, RunError, RunNotFoundError

N = 120
QUIET = {"baselines": False, "progress": False, "compute_brain": False}
NET = {"backbone": {"name": "small", "width": 8}, "min_steps": 5}
CONVOLUTIONS = ["conv1", "conv2", "conv3", "conv4", "conv5"]


def digits_of(folder, n, **where):
    dataset = fo.Dataset(f"insight-{uuid.uuid4().hex[:8]}")
    files = sorted(folder.iterdir())[:n]
    samples = [fo.Sample(str(file), ground_truth=fo.Classification(label=file.stem[-1])) for file in files]
    dataset.add_samples(samples, progress=False)
    return dataset


@pytest.fixture(scope="module")
def dataset(fiftyone_home, digits_dir):
    """120 digits, one of them unreadable, with the runs ``dc`` (learned) and ``px`` (pixels)."""
    dataset = digits_of(digits_dir, N)
    broken = fiftyone_home.root / f"{dataset.name}.png"
    broken.write_bytes(b"no image")
    dataset.add_samples([fo.Sample(str(broken), ground_truth=fo.Classification(label="7"))], progress=False)
    fdc.cluster(dataset, "deepcluster", "dc", n_clusters=5, rounds=1, **NET, **QUIET)
    yield dataset
    dataset.delete()


@pytest.fixture
def run(dataset):
    return fdc.load_run(dataset, "dc")


# ---------------------------------------------------------------- probe


def test_probe_of_all_layers_is_kept_with_the_run(dataset, run):
    found = fdc.probe(dataset, "dc", "ground_truth", folds=2)
    assert found.label_field == "ground_truth"
    assert (found.n_images, found.n_classes) == (N, 10)
    table = found.to_dataframe()
    assert list(table.layer) == [*CONVOLUTIONS, "fc6", "embedding"]
    assert (table.logistic > 0.5).all()
    assert stored_probe(run) == found
    assert stored_layers(run) == dict(zip(table.layer[:-1], [8, 8, 16, 16, 32, 128], strict=True))


def test_probe_of_what_was_clustered(dataset):
    found = fdc.probe(dataset, "dc", "ground_truth", layers=["embedding", "conv5"], folds=2)
    assert [(score.layer, score.network) for score in found.scores] == [
        ("conv5", "trained"), ("embedding", "trained"), ("conv5", "initial"), ("embedding", "initial"),
    ]  # fmt: skip
    stored = [vector for vector in dataset.values("dc_embedding") if vector is not None]
    assert {score.n_features for score in found.scores if score.layer == "embedding"} == {len(stored[0])}


def test_probe_of_a_view_and_some_layers(dataset):
    view = dataset.match(ViewField("ground_truth.label").is_in(["0", "1"]))
    found = fdc.probe(view, "dc", "ground_truth.label", layers=["conv5"], folds=2)
    assert found.n_classes == 2
    assert found.n_images == len(view)
    assert [score.layer for score in found.scores] == ["conv5", "conv5"]


def test_invalid_values_are_refused_with_the_valid_ones(dataset, tmp_path):
    with pytest.raises(RunNotFoundError, match=r"'nothing'.*dc"):
        fdc.probe(dataset, "nothing", "ground_truth")
    with pytest.raises(InputError, match=r"label_field='nothing' is not a field.*ground_truth"):
        fdc.probe(dataset, "dc", "nothing")
    with pytest.raises(InputError, match=r"label_field='dc_embedding' is a VectorField"):
        fdc.retrieval_score(dataset, "dc", "dc_embedding")
    with pytest.raises(InputError, match=r"layer='conv9'.*conv1, conv2"):
        fdc.probe(dataset, "dc", "ground_truth", layers=["conv9"])
    with pytest.raises(InputError, match="folds=1: give 2 to 10"):
        fdc.probe(dataset, "dc", "ground_truth", folds=1)
    with pytest.raises(InputError, match=r"units has 16; the layer 'conv4' has the units 0 to 15"):
        fdc.draw_filters(dataset, "dc", "conv4", tmp_path, units=[16])
    with pytest.raises(InputError, match=r"ascent has no option 'stepps'; did you mean 'steps'"):
        fdc.draw_filters(dataset, "dc", ascent={"stepps": 3})
    with pytest.raises(InputError, match="is not the id of a sample of run 'dc'"):
        fdc.retrieve(dataset, "dc", "0" * 24)
    with pytest.raises(InputError, match="choose one of: learned, initial, pixels"):
        fdc.retrieve(dataset, "dc", dataset.first().id, features="raw")
    with pytest.raises(InputError, match="its image could not be read"):
        fdc.retrieve(dataset, "dc", dataset.last().id)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, _: fdc.retrieval_score(d, "dc", "ground_truth", k=0), "k=0: give 1 or more"),
        (lambda d, _: fdc.retrieval_score(d, "dc", "ground_truth", k="a"), "k='a' is not a whole number"),
        (lambda d, _: fdc.retrieval_score(d, "dc", "ground_truth", max_queries=0), "max_queries=0: give 1"),
        (lambda d, _: fdc.retrieval_score(d, "dc", "ground_truth", max_queries=-1), "max_queries=-1: give 1"),
        (lambda d, _: fdc.retrieval_score(d, "dc", "ground_truth", features=["learned", "l"]), "features='l' is not"),
        (lambda d, _: fdc.retrieval_score(d, "dc", "ground_truth", features=[]), r"features=\[\] is not a list"),
        (lambda d, _: fdc.retrieval_score(d, "dc", 5), "label_field=5 is not a name"),
        (lambda d, _: fdc.probe(d, "dc", "ground_truth", folds="2"), "folds='2' is not a whole number; give 2 to 10"),
        (lambda d, _: fdc.probe(d, "dc", "ground_truth", folds=2.5), "folds=2.5 is not a whole number"),
        (lambda d, _: fdc.probe(d, "dc", "ground_truth", layers=[]), r"layers=\[\] is not a list.*such as \['conv1'\]"),
        (lambda d, _: fdc.retrieve(d, "dc", d.first().id, "5"), "k='5' is not a whole number"),
        (lambda d, _: fdc.retrieve(d, "dc", d.first().id, 2.5), "k=2.5 is not a whole number"),
        (lambda d, _: fdc.retrieve(d, "dc", fo.Sample("a.png")), "^sample_id=.{1,40} is not the id of a sample of run"),
        (lambda d, _: fdc.retrieve(d, "dc", 7), "sample_id=7 is not the id of a sample of run 'dc'"),
        (lambda d, _: fdc.draw_filters(d, "dc", units="ab"), r"units='ab' is not a list.*\[0, 1\]"),
        (lambda d, _: fdc.draw_filters(d, "dc", units=3), "units=3 is not a list"),
        (lambda d, _: fdc.draw_filters(d, "dc", units=[1.5]), "units=1.5 is not a whole number"),
        (lambda d, _: fdc.draw_filters(d, "dc", ["conv1"]), r"layer=\['conv1'\] is not a name"),
        (lambda d, place: fdc.draw_filters(d, "dc", out_dir=place / "file"), "file is a file"),
        (lambda d, place: fdc.draw_filters(d, "dc", out_dir=place / "file" / "x"), "file is a file"),
        (lambda d, _: fdc.draw_filters(d, "dc", out_dir=5), "out_dir=5 is not a path"),
        (lambda d, _: fdc.draw_filters(d, "dc", ascent=5), r"ascent=5 is not a dict of options;.*\{'steps': 300\}"),
    ],
)  # fmt: skip
def test_invalid_types_are_refused_and_nothing_is_stored(dataset, run, tmp_path, call, message):
    (tmp_path / "file").write_text("no folder")
    before = stored_scores(run), stored_probe(run), stored_filters(run)
    with pytest.raises(InputError, match=message):
        call(dataset, tmp_path)
    assert (stored_scores(run), stored_probe(run), stored_filters(run)) == before


def test_one_name_is_a_list_of_one_and_a_sample_stands_for_its_id(dataset):
    found = fdc.retrieval_score(dataset, "dc", "ground_truth", features="learned")
    assert [score.features for score in found.scores] == ["learned"]
    assert {s.layer for s in fdc.probe(dataset, "dc", "ground_truth", layers="conv5", folds=2).scores} == {
        "conv5"
    }
    sample = dataset.first()
    assert fdc.retrieve(dataset, "dc", sample, 3) == fdc.retrieve(dataset, "dc", sample.id, 3)


def test_a_run_without_a_network_says_why(dataset, digits_dir):
    fdc.cluster(dataset, "frozen", "given", embeddings_field="dc_embedding", n_clusters=3, **QUIET)
    with pytest.raises(RunError, match="clustered precomputed vectors"):
        fdc.probe(dataset, "given", "ground_truth")
    assert [score.features for score in fdc.retrieval_score(dataset, "given", "ground_truth").scores] == [
        "learned",
        "pixels",
    ]
    fdc.delete_run(dataset, "given")
    elsewhere = digits_of(digits_dir, 10)
    fdc.assign(elsewhere, "dc", from_dataset=dataset)
    with pytest.raises(RunError, match="assigned from another dataset"):
        fdc.list_layers(elsewhere, "dc")
    assert len(fdc.retrieve(elsewhere, "dc", elsewhere.first().id, 3)) == 3
    elsewhere.delete()


# ---------------------------------------------------------------- retrieval


@pytest.mark.parametrize("features", ["learned", "initial", "pixels"])
def test_neighbors_equal_a_slow_loop(dataset, features):
    query = dataset.skip(7).first()
    found = fdc.retrieve(dataset, "dc", query.id, 5, features=features)
    assert [near.sample_id for near in found] == [near.id for near in found]
    assert query.id not in {near.id for near in found}
    distances = [near.distance for near in found]
    assert distances == sorted(distances)
    if features == "initial":
        return
    if features == "learned":
        ids, vectors = dataset.exists("dc_embedding").values(["id", "dc_embedding"])
    else:
        ids, paths = dataset.limit(N).values(["id", "filepath"])
        vectors = [
            np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BILINEAR), float) for path in paths
        ]
        vectors = [(pixels - pixels.mean()).ravel() / pixels.std() for pixels in vectors]
    at = ids.index(query.id)
    exact = np.array([np.linalg.norm(vector - vectors[at]) for vector in vectors])
    exact[at] = np.inf
    nearest = [ids[row] for row in np.argsort(exact)[:5]]
    if features == "learned":
        assert [near.id for near in found] == nearest
        np.testing.assert_allclose(distances, np.sort(exact)[:5], rtol=1e-3)
    else:
        assert len(set(nearest) & {near.id for near in found}) >= 3, (
            "another resampling, nearly the same pixels"
        )


def test_neighbors_within_a_view(dataset):
    query = dataset.first()
    view = dataset.match(ViewField("ground_truth.label") == "1")
    found = fdc.retrieve(view, "dc", query.id, 4)
    assert {near.id for near in found} <= set(view.values("id"))
    with pytest.raises(InputError, match=r"none of the .* of the run is in the view"):
        fdc.retrieve(dataset.limit(0), "dc", query.id)


def test_retrieval_score_of_what_was_learned_and_before(dataset, run):
    found = fdc.retrieval_score(dataset, "dc", "ground_truth", k=5)
    table = found.to_dataframe().set_index("features")
    assert list(table.index) == ["learned", "initial", "pixels"]
    assert (table.n_images == N).all()
    assert ((table.mean_average_precision > table.chance) & (table.mean_average_precision < 1)).all()
    assert ((table.precision > table.chance) & (table.precision <= 1)).all()
    assert stored_scores(run) == found


def test_the_index_gives_what_retrieve_gives(dataset, run):
    assert fdc.index_neighbors(dataset, "dc") == N
    query = dataset.skip(3).first().id
    kept = indexed_neighbors(run, query)
    assert list(kept) == ["learned", "initial"]
    for features, found in kept.items():
        wanted = fdc.retrieve(dataset, "dc", query, 10, features=features)
        assert [near.id for near in found] == [near.id for near in wanted]
    assert indexed_neighbors(run, dataset.last().id) == {"learned": [], "initial": []}
    assert indexed_neighbors(run, "0" * 24) == {}


# ---------------------------------------------------------------- filters


def test_filters_are_drawn_to_files_and_kept(dataset, run, tmp_path):
    drawn = fdc.draw_filters(dataset, "dc", "conv3", tmp_path / "new", units=[2, 11], ascent={"steps": 10})
    assert drawn.units.tolist() == [2, 11]
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "conv3-unit-002-top.png",
        "conv3-unit-002.png",
        "conv3-unit-011-top.png",
        "conv3-unit-011.png",
        "conv3.png",
    ]
    picture = np.asarray(Image.open(drawn.files[0]).convert("L"), float)
    assert (picture.min(), picture.max()) == (0, 255)
    assert np.corrcoef(picture.ravel(), drawn.images[0].ravel())[0, 1] > 0.99
    assert [len(ids) for ids in drawn.top_ids] == [9, 9]
    assert set(drawn.top_ids[0]) <= set(dataset.values("id")) - {dataset.last().id}
    assert (np.diff(drawn.top_activations, axis=1) <= 0).all()
    layer, units = stored_filters(run)
    assert (layer, [unit.unit for unit in units]) == ("conv3", [2, 11])
    assert list(units[1].top_samples) == drawn.top_ids[1]
    assert np.array_equal(np.asarray(Image.open(units[0].tile)), np.asarray(Image.open(drawn.tiles[0])))


def test_the_last_convolution_and_spread_units_are_the_default(dataset):
    drawn = fdc.draw_filters(dataset, "dc", ascent=fdc.Ascent(steps=2))
    assert drawn.layer == "conv5"
    assert len(drawn.units) == 16
    assert drawn.units[[0, -1]].tolist() == [0, 31]
    assert drawn.montage.is_file()


# ---------------------------------------------------------------- what is kept


def test_layers_are_listed_for_any_run_with_a_network(dataset):
    assert list(fdc.list_layers(dataset, "dc")) == [*CONVOLUTIONS, "fc6"]
    fdc.cluster(dataset, "frozen", "px", n_clusters=3, **QUIET)
    assert fdc.list_layers(dataset, "px") == {"features": 256}
    table = fdc.probe(dataset, "px", "ground_truth", folds=2).to_dataframe()
    assert table.layer.tolist() == ["features", "embedding"], "its pooled vectors are what it clusters"
    assert table.logistic_gain.tolist() == [0.0, 0.0]
    fdc.delete_run(dataset, "px")


def test_results_are_renamed_and_deleted_with_the_run(digits_dir, fiftyone_home):
    dataset = digits_of(digits_dir, 40)
    fdc.cluster(dataset, "deepcluster", "a", n_clusters=3, rounds=1, **NET, **QUIET)
    fdc.index_neighbors(dataset, "a")
    fdc.draw_filters(dataset, "a", units=[0], ascent={"steps": 1})
    fdc.rename_run(dataset, "a", "b")
    run = fdc.load_run(dataset, "b")
    assert np.asarray(Image.open(stored_filters(run)[1][0].tile)).shape[1] > 100
    assert len(indexed_neighbors(run, dataset.first().id)["learned"]) == 10
    fdc.resume(dataset, "b", rounds=2, progress=False, compute_brain=False)
    assert indexed_neighbors(fdc.load_run(dataset, "b"), dataset.first().id) is None, "of an earlier state"
    folder = run_files.run_dir(dataset, "b")
    Findings(run).save("probe", {})
    fdc.delete_run(dataset, "b")
    assert not folder.exists()
    dataset.delete()


def test_patches_and_a_dataset_that_grew(digits_dir, fiftyone_home):
    """Objects are probed and found by their own ids; images assigned later are found, too."""
    dataset = digits_of(digits_dir, 40)
    for sample in dataset:
        halves = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]]
        sample["parts"] = fo.Detections(
            detections=[
                fo.Detection(label=side, bounding_box=box) for side, box in zip("lr", halves, strict=True)
            ]
        )
        sample.save()
    run = fdc.cluster(
        dataset.limit(30), "deepcluster", "p", patches_field="parts", n_clusters=3, rounds=1, **NET, **QUIET
    )
    assert run.n_samples == 60
    assert fdc.probe(dataset, "p", "parts", folds=2, layers=["conv2"]).n_images == 60
    patches = dataset.limit(30).to_patches("parts")
    query = patches.first().id
    found = fdc.retrieve(dataset, "p", query, 70)
    assert len(found) == 59
    samples = dict(zip(*patches.values(["id", "sample_id"]), strict=True))
    assert all(samples[near.id] == near.sample_id for near in found)
    assert fdc.assign(dataset.skip(30), "p", patches_field="parts") == 20
    assert len(fdc.retrieve(dataset, "p", query, 90)) == 79
    assert len(fdc.retrieve(dataset, "p", query, 90, features="initial")) == 79
    assert {near.sample_id for near in fdc.retrieve(dataset.skip(39), "p", query, 9)} == {dataset.last().id}
    dataset.delete()


def test_a_probe_of_missing_images_is_an_error(digits_dir, fiftyone_home, tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    for file in sorted(digits_dir.iterdir())[:40]:
        (folder / file.name).write_bytes(file.read_bytes())
    dataset = digits_of(folder, 40)
    fdc.cluster(dataset, "deepcluster", "dc", n_clusters=3, rounds=1, **NET, **QUIET)
    for file in sorted(folder.iterdir())[3:]:
        file.unlink()
    with pytest.raises(
        ImagesError,
        match=r"37 of 40 images can no longer be read, such as .*png.*restore the files. For",
    ):
        fdc.probe(dataset, "dc", "ground_truth", folds=2)
    dataset.delete()


def test_a_field_deleted_by_hand_is_named(digits_dir, fiftyone_home):
    dataset = digits_of(digits_dir, 40)
    run = fdc.cluster(dataset, "deepcluster", "dc", n_clusters=3, rounds=1, **NET, **QUIET)
    first = dataset.first().id
    dataset.delete_sample_field("dc_embedding")
    with pytest.raises(
        RunError, match=r"the field dc_embedding of run 'dc' was deleted .*; resume\(samples, 'dc'\)"
    ):
        fdc.retrieve(dataset, "dc", first, 3)
    dataset.delete_sample_field("dc")
    calls = [
        lambda: fdc.retrieve(dataset, "dc", first, 3, features="pixels"),
        lambda: fdc.probe(dataset, "dc", "ground_truth", folds=2),
        lambda: fdc.draw_filters(dataset, "dc"),
        lambda: fdc.build_tree(dataset, "dc"),
        run.clusters,
        run.names,
        run.view,
        lambda: fdc.review(dataset, "dc").rename("cluster-00", "x"),
    ]
    for call in calls:
        with pytest.raises(RunError, match=r"the field dc\.label of run 'dc' was deleted"):
            call()
    fdc.delete_run(dataset, "dc")
    assert not [name for name in dataset.get_field_schema() if name.startswith("dc")]
    dataset.delete()
