"""The contract of an encoder: a corpus in, one vector an image out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from typing_extensions import final

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.contracts import as_scores, as_vectors, blamed, count_broken
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import ImagesError, PartError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus


@dataclass(frozen=True)
class EncodeRequest:
    """What an encoder may need besides the images.

    Attributes:
        seed: of everything drawn.
        groups: (N,) int64, the clusters of the last round, -1 for none; None before there are any.
        n_groups: clusters wanted; None where the clusterer finds their number.
    """

    seed: int
    groups: torch.Tensor | None = None
    n_groups: int | None = None


@dataclass(frozen=True)
class Encoding:
    """Vectors of all images, and how to make those of new ones.

    Attributes:
        vectors: (N, D) float32 on the corpus' device.
        fitted: what was learned from the images, as plain values for a checkpoint; ``Encoder.apply`` takes it.
        scores: figures for the record.
    """

    vectors: torch.Tensor
    fitted: dict[str, Any]
    scores: dict[str, float] = field(default_factory=dict)


class Encoder(Part):
    """Makes one vector an image.

    Others call ``encode``, and ``apply`` for new images; an encoder is written by ``fit_transform`` and ``transform``.
    """

    @final
    def encode(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """Learn from the images of ``corpus`` how to describe them; vectors of all, row by row.

        Raises:
            InputError: images or options that do not fit.
            ImagesError: vectors with NaN or infinite values.
            PartError: ``fit_transform`` failed, or gave something else than one vector an image.
        """
        with blamed(self._who):
            found = self.fit_transform(corpus, request)
        encoding = found if isinstance(found, Encoding) else Encoding(found, {})  # type: ignore[arg-type]
        if not isinstance(encoding.fitted, dict):
            raise PartError(
                f"{self._who} gave fitted={short(encoding.fitted)}; return a dict of plain values and tensors"
            )
        scores = as_scores(encoding.scores, self._who)
        return Encoding(self._checked(encoding.vectors, corpus), encoding.fitted, scores)

    @final
    def apply(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """(N, D) float32 vectors of the images of ``corpus`` by what ``encode`` learned from others.

        Raises:
            InputError, ImagesError, PartError: as ``encode``.
        """
        with blamed(self._who):
            found = self.transform(corpus, fitted)
        return self._checked(found, corpus)

    @abstractmethod
    def fit_transform(self, corpus: Corpus, request: EncodeRequest) -> Encoding | torch.Tensor | NDArray[Any]:
        """Learn from the images of ``corpus`` how to describe them, and describe them.

        Returns:
            ``Encoding``: vectors (N, D), row by row, and what was learned, for ``transform``; or only the vectors
            as a tensor or a NumPy array, where nothing is learned.
        """

    @abstractmethod
    def transform(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor | NDArray[Any]:
        """Vectors (N, D) of the images of ``corpus`` by what ``fit_transform`` learned from others."""

    @property
    def _who(self) -> str:
        return f"the encoder {self.name!r}"

    def _checked(self, vectors: Any, corpus: Corpus) -> torch.Tensor:
        found = as_vectors(vectors, len(corpus), self._who).to(corpus.compute.device)
        broken = count_broken(found)
        if broken:
            raise ImagesError(
                f"{self._who} gave {broken}; the network's weights may be broken: lower learning_rate, or check "
                "the weights file"
            )
        return found


ENCODERS: Registry[Encoder] = Registry("encoders", Encoder, "features")  # type: ignore[type-abstract]
