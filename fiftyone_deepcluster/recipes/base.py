"""What every method has in common: its options, and the parts it hands to the loop.

An ``Options`` model is a recipe: ``resolve`` settles everything automatic for the images at hand,
``build`` makes the parts. The same model feeds the SDK's keywords, the App's form, the run record and
the documentation; a field's ``json_schema_extra`` says where the form shows it: ``{"advanced": True}``
folds it away.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.registry import Part, Registry, explain

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.images.augment import Augment
    from fiftyone_deepcluster.images.source import Facts
    from fiftyone_deepcluster.loop import Training
    from fiftyone_deepcluster.networks.base import Network
    from fiftyone_deepcluster.objectives import Objective
    from fiftyone_deepcluster.stopping import StopRule
    from fiftyone_deepcluster.tasks.base import PseudoTask

ADVANCED: dict[str, Any] = {"advanced": True}


@dataclass(frozen=True)
class Parts:
    """Everything the loop needs, made for one set of images.

    Attributes:
        network: on the CPU; the loop moves it.
        task: decides what each batch is taught.
        objective: outputs and targets to a loss.
        augment: changes training images.
        training: optimiser, schedule, batch size, device and precision.
        stopping: rules asked after every round.
    """

    network: Network
    task: PseudoTask
    objective: Objective
    augment: Augment
    training: Training
    stopping: tuple[StopRule, ...]


class Options(Part):
    """Options that every method takes; a method's own come on top."""

    n_clusters: int | None = Field(10, ge=2, description="Number of clusters to write to the dataset.")
    rounds: int = Field(10, ge=1, le=100_000, description="Rounds at most: one round clusters and trains once.")
    seed: int = Field(51, ge=0, lt=2**31, description="Same seed, machine and images: same clusters.")
    image_size: int | None = Field(
        None, ge=8, le=1024, description="Side in pixels that networks see; empty: chosen from the images."
    )
    color: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="Channels that networks see; auto: grey where all sampled images are.",
        json_schema_extra=ADVANCED,
    )
    device: str = Field(
        "auto", description="auto, cpu, cuda or cuda:1.", json_schema_extra=ADVANCED, pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Of the networks; auto: bfloat16 on a GPU that has it, else float32.",
        json_schema_extra=ADVANCED,
    )
    max_minutes: float | None = Field(
        None, gt=0, description="Stop after the round in which this many minutes are used up.",
        json_schema_extra=ADVANCED,
    )
    baselines: bool = Field(
        True, description="Also measure k-means and UMAP + GMM on the first and last features.",
        json_schema_extra=ADVANCED,
    )

    @abstractmethod
    def resolve(self, facts: Facts) -> Options:
        """A copy with nothing automatic left, for images such as ``facts`` describes."""

    @abstractmethod
    def build(self, facts: Facts, device: torch.device) -> Parts:
        """The parts of the loop. Call it on resolved options."""


RECIPES: Registry[Options] = Registry("recipes", Options)  # type: ignore[type-abstract]


def list_methods() -> dict[str, type[Options]]:
    """Names of all methods and their Options classes."""
    return {name: RECIPES.get(name) for name in RECIPES.names()}


def parse_options(method: str | Options, values: dict[str, Any] | None = None) -> Options:
    """Options from a method's name and keyword values, or an Options object and changes to it.

    Raises:
        OptionsError: unknown method or option, or a value out of range.
    """
    values = dict(values or {})
    if isinstance(method, Options):
        if not values:
            return method
        values = {**method.model_dump(), **values}
        recipe: type[Options] = type(method)
    else:
        recipe = RECIPES.get(method)
        values["name"] = method
    try:
        return recipe.model_validate(values)
    except ValidationError as error:
        raise OptionsError(explain(error, str(values["name"]))) from error
