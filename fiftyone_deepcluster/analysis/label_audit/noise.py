"""Estimated share of wrong labels of every class, with an interval, and which classes they are taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Z = 1.96
"""Quantile of the normal distribution for a 95 % interval."""

ISSUE_AT = 0.5
"""A label is an issue if its probability of being wrong is at least this."""


class NoiseRate(BaseModel):
    """Estimated share of wrong labels, with a 95 % interval.

    Attributes:
        rate: the share.
        low: lower end.
        high: upper end.
    """

    model_config = ConfigDict(frozen=True)
    rate: float
    low: float
    high: float


class ClassNoise(BaseModel):
    """The labels of one class.

    Attributes:
        label: the class.
        n_images: images with this label.
        n_issues: labels that are more probably wrong than right.
        noise: estimated share of wrong labels; None if the class was not audited.
        taken_for: class that is suggested most often for them; None if there is none.
    """

    model_config = ConfigDict(frozen=True)
    label: str
    n_images: int
    n_issues: int
    noise: NoiseRate | None
    taken_for: str | None


def noise_rate(p_wrong: NDArray[np.float32], spread: tuple[float, float] = (1.0, 1.0)) -> NoiseRate:
    """Mean probability of M labels, M >= 1, with the interval of a sum of independent events (Wilson's).

    Args:
        p_wrong: (M,) probabilities.
        spread: factors (<= 1, >= 1) for the lower and upper end, from the uncertainty of the calibration.
    """
    n, rate = len(p_wrong), float(np.mean(p_wrong, dtype=np.float64))
    middle = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    low, high = max(0.0, min(rate, middle - half)), max(rate, middle + half)
    return NoiseRate(rate=rate, low=low * spread[0], high=min(1.0, high * spread[1]))


@dataclass(frozen=True)
class Judged:
    """What is known about N labels.

    Attributes:
        names: K class names.
        classes: (N,) int64 given class.
        p_wrong: (N,) float32 probability that it is wrong; NaN where it was not audited.
        suggested: (N,) int64 class that is suggested, -1: none.
        spread: of the calibration, see ``noise_rate``.
    """

    names: tuple[str, ...]
    classes: NDArray[np.int64]
    p_wrong: NDArray[np.float32]
    suggested: NDArray[np.int64]
    spread: tuple[float, float] = (1.0, 1.0)

    @property
    def is_issue(self) -> NDArray[np.bool_]:
        """(N,) labels that are more probably wrong than right."""
        return np.nan_to_num(self.p_wrong, nan=0.0) >= ISSUE_AT

    def confusion(self) -> NDArray[np.int64]:
        """(K, K) labels given x suggested; labels that are no issue are on the diagonal."""
        k = len(self.names)
        now = np.where(self.is_issue & (self.suggested >= 0), self.suggested, self.classes)
        return np.bincount(self.classes * k + now, minlength=k * k).reshape(k, k)

    def by_class(self) -> list[ClassNoise]:
        """One entry for each class, by falling noise rate."""
        table = self.confusion()
        np.fill_diagonal(table, 0)
        found = []
        for number, name in enumerate(self.names):
            p_wrong = self.p_wrong[self.classes == number]
            judged = p_wrong[~np.isnan(p_wrong)]
            found.append(
                ClassNoise(
                    label=name,
                    n_images=len(p_wrong),
                    n_issues=int((judged >= ISSUE_AT).sum()),
                    noise=noise_rate(judged, self.spread) if len(judged) else None,
                    taken_for=self.names[int(table[number].argmax())] if table[number].any() else None,
                )
            )
        return sorted(found, key=lambda entry: -1.0 if entry.noise is None else -entry.noise.rate)
