"""PCA against scikit-learn, and its default sizes."""

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.features.pooled import Pooled
from fiftyone_deepcluster.features.reduce import Reduction, fit_pca
from tests.gpu_waits import CUDA
from tests.pretend_cuda import pretended_gpu


def test_pca_whitens_and_matches_scikit_learn():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)) + 3).astype(np.float32)
    ours = fit_pca(torch.from_numpy(features), 5, whiten=True, l2_normalize=False).apply(
        torch.from_numpy(features)
    )
    theirs = PCA(5, whiten=True, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(np.abs(ours.numpy()), np.abs(theirs), atol=2e-4)
    np.testing.assert_allclose(np.cov(ours.numpy().T), np.eye(5), atol=1e-4)
    unit = fit_pca(torch.from_numpy(features), 5, whiten=False, l2_normalize=True).apply(
        torch.from_numpy(features)
    )
    np.testing.assert_allclose(unit.norm(dim=1).numpy(), 1, atol=1e-5)


@pytest.mark.usefixtures("seeded")
def test_pca_is_limited_by_the_data_and_restored_from_a_checkpoint():
    features = torch.randn(6, 40)
    reduction = fit_pca(features, 256, whiten=False, l2_normalize=True)
    assert reduction.apply(features).shape == (6, 5)
    again = Reduction.from_state(reduction.state_dict())
    assert torch.equal(again.apply(features), reduction.apply(features))


@pytest.mark.parametrize(
    ("n", "d", "expected"),
    [
        (10_000, 128, (0, False)),
        (10_000, 4096, (64, False)),
        (200_000, 4096, (256, True)),
        (200_000, 128, (0, False)),
    ],
)
def test_pca_dimensions_are_chosen_by_the_data(n, d, expected):
    assert Pooled().settle(n, d) == expected


def test_pca_options_override_the_defaults():
    assert Pooled(pca=256, whiten=True).settle(100, 4096) == (256, True)
    assert Pooled(pca=256).settle(100, 4096) == (256, True)  # DeepCluster's dimensions are whitened
    assert Pooled(pca=256, whiten=False).settle(200_000, 4096) == (256, False)
    assert Pooled(pca=64).settle(200_000, 4096) == (64, False)
    assert Pooled(pca=0).settle(200_000, 4096) == (0, False)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("shape", [(20, 50), (50, 20)], ids=["few images", "few dimensions"])
def test_pca_on_a_gpu_knows_noise_from_directions(shape):
    features = torch.randn(shape[0], 3) @ torch.randn(3, shape[1])  # no variance in other directions
    here = fit_pca(features, 10, whiten=False, l2_normalize=False)
    with pretended_gpu():
        there = fit_pca(features.to("cuda"), 10, whiten=False, l2_normalize=False)
        apart = fit_pca(features, 10, whiten=False, l2_normalize=False, device=CUDA)
        reduced = apart.apply(features, CUDA)
        assert reduced.device.type == "cpu"
        matrices = [one.matrix.cpu() for one in (there, apart)]

    for matrix in matrices:
        assert torch.equal(matrix, here.matrix)
    assert torch.equal(reduced, here.apply(features))
