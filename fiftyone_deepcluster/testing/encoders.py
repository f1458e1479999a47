"""Checks for encoders."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.devices import Compute
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.features.base import ENCODERS, Encoder, EncodeRequest
from fiftyone_deepcluster.features.corpus import Corpus
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images
from fiftyone_deepcluster.testing.checks import (
    PartCheck,
    digit_images,
    generators_left_alone,
    option_checks,
    require,
    run_checks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_N = 60
_SIDE = 24
_OTHERS = (5, 41)


def check_encoder(encoder: Encoder | type[Encoder] | str | dict[str, Any]) -> None:
    """Check an encoder on 60 digits, with a small network of random weights.

    Args:
        encoder: object, class, name, or dict with name and options; its options must suit 60 images.

    Raises:
        AssertionError: a check failed; the message has its name and the reason.
        OptionsError: there is no such encoder.
    """
    run_checks(ENCODERS, encoder, ENCODER_CHECKS)


@contextmanager
def small_corpus(rows: Sequence[int] | None = None) -> Iterator[Corpus]:
    """A corpus of 60 digits, or of some rows, with a small network of random weights, equal in every call."""
    images = digit_images(_N)
    store = open_images(
        images if rows is None else images[list(rows)], Decode(size=_SIDE, color="gray"), observer=Silent()
    )
    try:
        with seeded_torch(1):
            body = BACKBONES.parse({"name": "small", "width": 8}).build(1, _SIDE, None)
        network = Network(make_input_norm("zscore", 1), body)
        compute = Compute(torch.device("cpu"), torch.float32)
        yield Corpus(store, network, compute, size=_SIDE, batch_size=16, observer=Silent())
    finally:
        store.close()


def every_image_gets_a_vector(encoder: Encoder) -> None:
    """Vectors (N, D) are float32, finite, and not all equal."""
    with small_corpus() as corpus:
        found = encoder.encode(corpus, _request()).vectors
    require(
        found.ndim == 2 and len(found) == _N,
        f"60 images give shape {tuple(found.shape)} instead of (60, D)",
    )
    require(found.dtype == torch.float32, f"vectors are {found.dtype} instead of float32")
    require(bool((found != found[0]).any()), "all images have the same vector")


def same_seed_gives_same_vectors(encoder: Encoder) -> None:
    """Two equal calls give equal vectors."""
    with small_corpus() as corpus:
        one, two = (encoder.encode(corpus, _request()).vectors for _ in range(2))
    require(torch.equal(one, two), "vectors differ between two calls with the same seed; use request.seed")


def what_was_learned_fits_a_checkpoint(encoder: Encoder) -> None:
    """Fitted parameters can be stored, and give the same vectors after loading."""
    with small_corpus() as corpus:
        encoding = encoder.encode(corpus, _request())
        found = encoder.apply(corpus, _stored(encoding.fitted))
    close = torch.allclose(found, encoding.vectors, rtol=1e-4, atol=1e-5)
    require(close, "transform gives other vectors than fit_transform for the same images")


def new_images_get_the_same_vectors(encoder: Encoder) -> None:
    """``transform`` gives an image the same vector, whatever other images are in the corpus."""
    with small_corpus() as corpus:
        encoding = encoder.encode(corpus, _request())
    with small_corpus(_OTHERS) as others:
        found = encoder.apply(others, _stored(encoding.fitted))
    close = torch.allclose(found, encoding.vectors[list(_OTHERS)], rtol=1e-4, atol=1e-5)
    require(
        close,
        "transform of two images gives other vectors than for all images; put what it needs into fitted",
    )


def network_is_left_alone(encoder: Encoder) -> None:
    """The network's weights and statistics are not modified."""
    with small_corpus() as corpus:
        before = {name: value.clone() for name, value in corpus.network.state_dict().items()}
        encoder.encode(corpus, _request())
        after = corpus.network.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    require(not changed, f"the network was modified: {', '.join(changed)}; set it to evaluation mode")


def encoder_leaves_generators_alone(encoder: Encoder) -> None:
    """The global random generators are not used."""
    with small_corpus() as corpus:
        encoder.encode(corpus, _request())  # imports may use the generators
        with generators_left_alone():
            encoder.encode(corpus, _request())


def _request() -> EncodeRequest:
    return EncodeRequest(3, n_groups=4)


def _stored(fitted: dict[str, Any]) -> dict[str, Any]:
    """``fitted`` after saving and loading with ``weights_only=True``."""
    file = io.BytesIO()
    torch.save(fitted, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)  # type: ignore[no-any-return]
    except Exception as error:  # the unpickler may raise any exception
        raise AssertionError(f"fitted must hold tensors and plain values only: {error}") from error


ENCODER_CHECKS: tuple[PartCheck[Encoder], ...] = (
    *option_checks(ENCODERS),
    every_image_gets_a_vector,
    same_seed_gives_same_vectors,
    what_was_learned_fits_a_checkpoint,
    new_images_get_the_same_vectors,
    network_is_left_alone,
    encoder_leaves_generators_alone,
)
"""All checks, in the order in which ``check_encoder`` runs them."""
