"""Parts that break their contract raise a PartError in use, and an AssertionError in the public checks."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.clusterers.base import (
    CLUSTERERS,
    Clusterer,
    Clustering,
    ClusterRequest,
    FoundClusters,
)
from fiftyone_deepcluster.errors import InputError, OptionsError, PartError
from fiftyone_deepcluster.features.base import ENCODERS, Encoder, EncodeRequest, Encoding
from fiftyone_deepcluster.methods.base import METHODS
from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer
from fiftyone_deepcluster.testing import (
    METHOD_CHECKS,
    check_backbone,
    check_clusterer,
    check_encoder,
    check_method,
    check_reducer,
)

KINDS = (CLUSTERERS, REDUCERS, ENCODERS, BACKBONES, METHODS)
LABELS = np.arange(240) % 4
NAN_CENTERS = torch.full((4, 6), torch.nan)


@pytest.fixture(autouse=True)
def _registries():
    """What a test registers is gone after it."""
    before = [dict(registry._parts) for registry in KINDS if registry.names()]
    yield
    for registry, parts in zip(KINDS, before, strict=True):
        registry._parts.clear()
        registry._parts.update(parts)


class Given(Clusterer):
    """Gives what the class says."""

    name: Literal["given"] = "given"
    answer: ClassVar[object] = None

    def find(self, vectors, request):
        return type(self).answer(vectors) if callable(type(self).answer) else type(self).answer


def _cluster(blobs, answer):
    made = type("Given", (Given,), {"answer": answer, "__module__": __name__})
    return made().cluster(blobs, ClusterRequest(4))


def _raise(vectors):
    raise KeyError("no key")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, r"'given' returned None; return labels \(240,\), integers from 0, -1 for noise as a tensor or a"),
        ([0] * 240, r"returned \[0, 0.*\(a list\) of type list; return labels \(240,\)"),
        (LABELS[:10], r"returned values of shape \(10,\) and type int64; return labels \(240,\)"),
        (LABELS[:, None], r"returned values of shape \(240, 1\)"),
        (LABELS.astype(float), r"returned values of shape \(240,\) and type float64; return labels"),
        (LABELS > 1, r"type bool; return labels"),
        (LABELS - 3, r"returned the label -3; return labels"),
        (FoundClusters(LABELS, centers=NAN_CENTERS), r"NaN or infinite values in rows \[0, 1, 2, 3\].*or leave"),
        (FoundClusters(LABELS, centers=torch.zeros(3, 6)), r"centers of shape \(3, 6\); return centers \(4, 6\)"),
        (FoundClusters(2 * LABELS, centers=torch.zeros(7, 6)), r"4 different labels up to 6.*number the labels"),
        (FoundClusters(LABELS, confidence=np.full(240, 2.0)), r"confidence=2; return confidence \(240,\) in 0"),
        (FoundClusters(LABELS, confidence=np.full(240, np.nan)), r"confidence=nan"),
        (FoundClusters(LABELS, confidence=np.ones(3)), r"confidence of shape \(3,\)"),
        (FoundClusters(LABELS, objective=float("nan")), r"objective=nan; return the minimized quantity"),
        (FoundClusters(LABELS, objective="low"), r"objective='low'; return one number"),
        (FoundClusters(LABELS, scores={"a": "b"}), r"scores\['a'\]='b'; return one number"),
        (FoundClusters(LABELS, scores=[1.0]), r"scores=\[1.0\]; return a dict of numbers by name"),
        (_raise, r"the clusterer 'given' failed: KeyError: 'no key'"),
    ],
)  # fmt: skip
def test_an_invalid_result_of_a_clusterer_is_refused_with_value_and_need(blobs, answer, says):
    with pytest.raises(PartError, match=says):
        _cluster(blobs, answer)


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(np.int32), torch.arange(240) % 4, 3 * LABELS + 1])
def test_a_clusterer_may_return_labels_only(blobs, labels):
    found = _cluster(blobs, labels)
    reference = torch.arange(240) % 4
    assert torch.equal(found.labels, reference)
    expected = torch.stack([blobs[reference == k].mean(dim=0) for k in range(4)])
    torch.testing.assert_close(found.centers, expected, rtol=1e-4, atol=1e-3)
    squares = (blobs - expected[reference]).square().sum()
    assert found.objective == pytest.approx(float(squares), rel=1e-3)
    assert bool((found.confidence > 0.5).all())


def test_noise_and_nothing_but_noise(blobs):
    some = torch.where(torch.arange(240) < 7, -1, torch.arange(240) % 4)
    assert torch.equal(_cluster(blobs, some).labels, some)
    none = _cluster(blobs, torch.full((240,), -1))
    assert isinstance(none, Clustering)
    assert none.n_clusters == 0
    assert none.objective == 0


def test_given_values_are_kept(blobs):
    known = FoundClusters(
        LABELS,
        centers=np.zeros((4, 6)),
        confidence=np.full(240, 0.25),
        objective=np.float32(3),
        scores={"a": 1},
    )
    found = _cluster(blobs, known)
    assert not found.centers.any()
    assert found.centers.dtype == found.confidence.dtype == torch.float32
    assert set(found.confidence.tolist()) == {0.25}
    assert (found.objective, found.scores) == (3.0, {"a": 1.0})


def test_input_is_checked_before_a_clusterer_sees_it(blobs):
    for vectors, n, says in (
        (blobs.numpy(), 4, "got vectors of type ndarray; give a tensor"),
        (blobs * torch.nan, 4, "the clusterer 'given' got 240 of 240 vectors with NaN"),
        (blobs[:2], 4, "n_clusters=4 is more than the 2 images"),
        (blobs, None, "the clusterer 'given' needs n_clusters"),
    ):
        with pytest.raises(InputError, match=says):
            Given().cluster(vectors, ClusterRequest(n))


class Thirds(Clusterer):
    """Cuts the first number into shares, by the seed of nobody."""

    name: Literal["thirds"] = "thirds"
    hidden: int = 3

    def find(self, vectors, request):
        vectors -= vectors.mean(dim=0)
        return (torch.rand(len(vectors)) * request.n_clusters).long()


@pytest.mark.usefixtures("seeded")
def test_the_first_check_that_fails_is_named():
    with pytest.raises(
        AssertionError, match=r"fails is_registered: .* there is no 'thirds' among the clusterers"
    ):
        check_clusterer(Thirds)
    with pytest.raises(OptionsError, match="there is no 'thirds' among the clusterers"):
        check_clusterer("thirds")
    CLUSTERERS.register(Thirds)
    with pytest.raises(
        AssertionError, match=r"^Thirds \('thirds'\) fails options_are_described: the option 'hidden'"
    ):
        check_clusterer("thirds")

    class Described(Thirds):
        """Cuts at random."""

        name: Literal["described"] = "described"
        hidden: int = Field(3, description="Of no use.")

    CLUSTERERS.register(Described)
    with pytest.raises(AssertionError, match=r"'described'\) fails groups_far_apart_are_found: purity is 0"):
        check_clusterer({"name": "described", "hidden": 2})


class Grown(Reducer):
    """Gives what it likes."""

    name: Literal["grown"] = "grown"
    how: Literal["nan", "rows", "drawn"] = Field("nan", description="What is wrong.")

    def fit_transform(self, vectors, seed):
        if self.how == "rows":
            return vectors[1:]
        return vectors.numpy() * np.nan if self.how == "nan" else vectors + torch.rand(1)


@pytest.mark.usefixtures("seeded")
def test_a_reducer_that_breaks_its_contract():
    REDUCERS.register(Grown)
    vectors = torch.rand(9, 3)
    with pytest.raises(
        PartError, match=r"the reducer 'grown' returned 9 of 9 vectors with NaN.*return finite"
    ):
        Grown().embed(vectors, 0)
    with pytest.raises(
        PartError, match=r"returned values of shape \(8, 3\) and type float32; return vectors \(9, D\)"
    ):
        Grown(how="rows").embed(vectors, 0)
    with pytest.raises(AssertionError, match=r"fails same_seed_gives_same_reduction: vectors differ"):
        check_reducer(Grown(how="drawn"))


class Odd(Encoder):
    """Gives what it likes."""

    name: Literal["odd"] = "odd"
    how: Literal["fitted", "rows", "stays"] = Field("fitted", description="What is wrong.")

    def fit_transform(self, corpus, request):
        vectors = corpus.features()
        if self.how == "fitted":
            return Encoding(vectors, [1])
        return vectors[1:] if self.how == "rows" else vectors - vectors.mean(dim=0)

    def transform(self, corpus, fitted):
        return corpus.features() - corpus.features().mean(dim=0)


def test_an_encoder_that_breaks_its_contract(corpus):
    ENCODERS.register(Odd)
    with pytest.raises(PartError, match=r"the encoder 'odd' returned fitted=\[1\]; return a dict"):
        Odd().encode(corpus, EncodeRequest(0))
    with pytest.raises(
        PartError, match=r"returned values of shape \(59, 128\).*return vectors \(60, D\), one row"
    ):
        Odd(how="rows").encode(corpus, EncodeRequest(0))
    with pytest.raises(
        AssertionError, match=r"fails new_images_get_the_same_vectors: .* put what it needs into fitted"
    ):
        check_encoder(Odd(how="stays"))


class Bare(Backbone):
    """Gives what it likes."""

    name: Literal["bare"] = "bare"
    how: Literal["class", "maps", "channels", "ignores"] = Field("class", description="What is wrong.")

    def make_module(self, channels, size, weights):
        if self.how == "class":
            return torch.nn.Flatten
        if self.how == "ignores":
            return torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 3, stride=4), torch.nn.Flatten())
        return torch.nn.Conv2d(channels if self.how == "maps" else channels + 1, 4, 3)


@pytest.mark.usefixtures("seeded")
def test_a_backbone_that_breaks_its_contract():
    BACKBONES.register(Bare)
    with pytest.raises(PartError, match=r"'bare' returned .* of type type from make_module; return"):
        Bare().build(1, 28, None)
    with pytest.raises(
        PartError, match=r"returned values of shape \(1, 4, 26, 26\).*for one image; end it with"
    ):
        Bare(how="maps").build(1, 28, None)
    with pytest.raises(PartError, match=r"'bare', given one image \(1, 28, 28\), failed: RuntimeError"):
        Bare(how="channels").build(1, 28, None)
    found = Bare(how="ignores").build(1, 28, None)
    assert (found.dim, found.relu_before_head, found.training) == (196, False, True)
    with pytest.raises(
        AssertionError, match=r"fails missing_weights_are_refused: weights='/no/such/file.pt' is accepted"
    ):
        check_backbone(Bare(how="ignores"))


def test_a_built_in_method_passes():
    assert len(METHOD_CHECKS) == 8
    check_method({"name": "frozen", "encoder": "pooled"})
