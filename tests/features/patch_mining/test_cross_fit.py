"""Cross-fitting: each half of the images is encoded by detectors that were mined in the other half."""

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.features.patch_mining.cross_fit import CrossFit, Halves
from fiftyone_deepcluster.features.patch_mining.encoder import PatchMining
from fiftyone_deepcluster.features.patch_mining.patches import cells
from tests.features.patch_mining.test_patch_mining import MINING

ENCODER = PatchMining(**{**MINING, "pca": 0, "l2_normalize": False, "cross_fit": True})
GROUPS = torch.arange(60) % 3


def test_no_image_is_encoded_by_detectors_of_its_half(corpus):
    """Other groups in one half change the vectors of the other half only, up to their standardization."""
    _, half = _split(corpus)
    changed = GROUPS.clone()
    second = torch.from_numpy(half == 1)
    changed[second] = changed[second].roll(1)
    one, two = (ENCODER.encode(corpus, EncodeRequest(1, groups)).vectors for groups in (GROUPS, changed))
    assert torch.equal(one[second], two[second]), "encoded by the first half, whose groups are the same"
    assert not torch.allclose(one[~second], two[~second], atol=0.1)


def test_scores_are_means_over_the_detectors_of_each_group(corpus):
    encoding = ENCODER.encode(corpus, EncodeRequest(1, GROUPS))
    state = encoding.fitted["cross_fit"]
    _, half = _split(corpus)
    rows = np.flatnonzero(half == 1)
    first = state["parts"][0]
    ((_, scales),) = [(taken, found) for taken, found in ENCODER._cut(ENCODER.scales).of(corpus, rows[:5])]
    expected = torch.zeros(5, 5, 3)
    for image in range(5):
        for cell in range(5):
            for group in range(3):
                responses = torch.stack(
                    [
                        torch.stack(
                            [
                                (found[image] @ detector)[cells(middles)[:, cell]].max()
                                for found, middles in scales
                            ]
                        ).max()
                        for detector in first["detectors"]
                    ]
                )
                expected[image, cell, group] = (responses * first["weights"][:, group]).sum()
    found = encoding.vectors[rows[:5]] * first["deviation"] + first["mean"]
    torch.testing.assert_close(found, expected.flatten(1), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(first["weights"].sum(dim=0), torch.ones(3))


def test_both_halves_have_mean_0_and_deviation_1(corpus):
    found = ENCODER.encode(corpus, EncodeRequest(1, GROUPS))
    _, half = _split(corpus)
    assert found.vectors.shape == (60, 15), "three groups in five cells"
    assert found.scores["scored_groups"] == 3
    for which in (0, 1):
        part = found.vectors[torch.from_numpy(half == which)]
        torch.testing.assert_close(part.mean(dim=0), torch.zeros(15), atol=1e-4, rtol=0)
        torch.testing.assert_close(part.std(dim=0, correction=0), torch.ones(15), atol=1e-3, rtol=0)


def test_groups_that_mean_nothing_are_not_confirmed(corpus):
    """Random groups: an image scores no higher for its own one, but it does by the detectors of its own half."""
    groups = torch.from_numpy(np.random.default_rng(2).permutation(60) % 3)
    encoder = ENCODER.model_copy(update={"mined_patches": 5000, "patterns": 50, "confidence": 0.8})
    encoding = encoder.encode(corpus, EncodeRequest(1, groups))
    assert encoding.scores["scored_groups"] == 3
    crossed = CrossFit.from_state(encoding.fitted["cross_fit"], torch.device("cpu"))
    by_own_half = crossed.describer(corpus, encoder._cut(encoder.scales), 1 - crossed.halves.of(corpus))
    seen = torch.cat([scores for _, scores in by_own_half(np.arange(60))])
    assert _margin(seen, groups) > 0.8
    assert abs(_margin(encoding.vectors, groups)) < 0.3


def test_an_image_has_the_same_vector_in_every_set_of_images(corpus, make_corpus, few_digits):
    encoding = ENCODER.encode(corpus, EncodeRequest(1, GROUPS))
    torch.testing.assert_close(ENCODER.apply(corpus, encoding.fitted), encoding.vectors, atol=1e-4, rtol=1e-4)
    few = make_corpus(images=few_digits[[41, 3, 20]])
    found = ENCODER.apply(few, encoding.fitted)
    torch.testing.assert_close(found, encoding.vectors[[41, 3, 20]], atol=1e-4, rtol=1e-4)


def test_a_patient_is_in_one_half_and_stays_there(make_corpus, few_digits):
    corpus, few = make_corpus(), make_corpus(images=few_digits[:7])
    corpus.groups = np.r_[np.arange(50) // 5, np.full(10, -1)]
    halves, half = Halves.split(corpus, 4)
    assert all(len(set(half[corpus.groups == patient])) == 1 for patient in range(10))
    assert set(half) == {0, 1}
    assert len(set(half[50:])) == 2, "images without a patient are drawn one by one"
    _, alone = Halves.split(make_corpus(), 4)
    assert not np.array_equal(alone, half)
    assert halves.of(few).tolist() == half[:7].tolist()
    assert not np.array_equal(Halves.split(corpus, 5)[1], half)


def test_random_groups_are_not_split(corpus):
    crossed, plain = (
        PatchMining(**MINING, cross_fit=cross_fit).encode(corpus, EncodeRequest(1, n_groups=3)).vectors
        for cross_fit in (True, False)
    )
    assert torch.equal(crossed, plain)


def test_images_of_one_half_only_are_refused(make_corpus, few_digits):
    corpus = make_corpus(images=np.repeat(few_digits[:1], 30, axis=0))
    with pytest.raises(InputError, match="all in one half; give more images, raise sample, or set cross_fit"):
        ENCODER.encode(corpus, EncodeRequest(1, torch.arange(30) % 3))


def test_clusters_that_are_in_one_half_only_have_no_scores(corpus):
    _, half = _split(corpus)
    with pytest.raises(InputError, match="mined patterns in both halves"):
        ENCODER.encode(corpus, EncodeRequest(1, torch.from_numpy(half)))
    some = torch.where(torch.arange(60) % 2 == 0, torch.from_numpy(half), 2)
    assert ENCODER.encode(corpus, EncodeRequest(1, some)).scores["scored_groups"] == 1


def _margin(scores, groups):
    """Mean score of the whole image for its own group, above the mean of the other two."""
    whole = scores.view(60, 5, 3)[:, 0]
    own = whole[torch.arange(60), groups]
    return float((own - (whole.sum(dim=1) - own) / 2).mean())


def _split(corpus):
    return Halves.split(corpus, derive(1, "halves"))
