"""The interface of an encoder: it computes one vector per image of a corpus."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from typing_extensions import final

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.contracts import as_scores, as_vectors, attributed_to, describe_non_finite
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import ImagesError, PartError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus


@dataclass(frozen=True)
class EncodeRequest:
    """Arguments of an encoding besides the images.

    Attributes:
        seed: random seed.
        groups: (N,) int64, the clusters of the last round, -1 for none; None in the first round.
        n_groups: requested number of clusters; None where the clusterer determines it.
    """

    seed: int
    groups: torch.Tensor | None = None
    n_groups: int | None = None


@dataclass(frozen=True)
class Encoding:
    """Vectors of all images, and the fitted parameters that encode new ones.

    Attributes:
        vectors: (N, D) float32 on the corpus' device, or on the CPU where the GPU has no room for them.
        fitted: fitted parameters for ``Encoder.apply``, as tensors and plain values for a checkpoint.
        scores: numbers for the run record.
        widths: numbers of dimensions of the parts (layers) that the vectors concatenate, the most important first.
            Empty: a single part.
    """

    vectors: torch.Tensor
    fitted: dict[str, Any]
    scores: dict[str, float] = field(default_factory=dict)
    widths: tuple[int, ...] = ()


class Encoder(Part):
    """Base class of encoders, which compute one vector per image.

    Callers use ``encode``, and ``apply`` for new images; subclasses implement ``fit_transform`` and ``transform``.
    """

    @final
    def encode(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """Fit the encoder to the images of ``corpus`` and encode them; row i is the vector of image i.

        Raises:
            InputError: images or options that do not fit.
            ImagesError: vectors with NaN or infinite values.
            PartError: ``fit_transform`` failed, or did not return one vector per image.
        """
        with attributed_to(self._who):
            found = self.fit_transform(corpus, request)
        encoding = found if isinstance(found, Encoding) else Encoding(found, {})  # type: ignore[arg-type]
        if not isinstance(encoding.fitted, dict):
            raise PartError(
                f"{self._who} returned fitted={short(encoding.fitted)}; return a dict of plain values and tensors"
            )
        scores = as_scores(encoding.scores, self._who)
        vectors = self._checked(encoding.vectors, corpus)
        if encoding.widths and sum(encoding.widths) != vectors.shape[1]:
            raise PartError(
                f"{self._who} returned widths={encoding.widths} for vectors of {vectors.shape[1]} dimensions; return "
                "the dimensions of the parts, which add up to those of the vectors"
            )
        return Encoding(vectors, encoding.fitted, scores, encoding.widths)

    @final
    def apply(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """(N, D) float32 vectors of the images of ``corpus``, by parameters that ``encode`` fitted to others.

        Raises:
            InputError, ImagesError, PartError: as for ``encode``.
        """
        with attributed_to(self._who):
            found = self.transform(corpus, fitted)
        return self._checked(found, corpus)

    @abstractmethod
    def fit_transform(self, corpus: Corpus, request: EncodeRequest) -> Encoding | torch.Tensor | NDArray[Any]:
        """Fit the encoder to the images of ``corpus``, and encode them.

        Returns:
            ``Encoding`` with vectors (N, D) in image order and the fitted parameters for ``transform``; or only the
            vectors, as a tensor or a NumPy array, where nothing is fitted.
        """

    @abstractmethod
    def transform(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor | NDArray[Any]:
        """Vectors (N, D) of the images of ``corpus``, by parameters that ``fit_transform`` fitted to others."""

    @property
    def _who(self) -> str:
        return f"the encoder {self.name!r}"

    def _checked(self, vectors: Any, corpus: Corpus) -> torch.Tensor:
        found = as_vectors(vectors, len(corpus), self._who)
        found = found.to(corpus.compute.device_for(found.numel()))
        non_finite = describe_non_finite(found)
        if non_finite:
            raise ImagesError(
                f"{self._who} returned {non_finite}; the network's weights may be invalid: lower learning_rate, "
                "or check the weights file"
            )
        return found


ENCODERS: Registry[Encoder] = Registry("encoders", Encoder, "features")  # type: ignore[type-abstract]
