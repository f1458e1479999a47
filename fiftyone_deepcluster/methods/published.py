"""Methods of a paper: ``preset="paper"`` sets every option to the paper's value.

The default values are ours: chosen by measurements, for small sets and one machine. A preset is resolved before
the options are validated, so that options, form, command line and record hold its values. Options that are given, too,
override it, and ``deviations`` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fiftyone_deepcluster.core.registry import Part
from fiftyone_deepcluster.methods.base import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from fiftyone_deepcluster.images.inspect import ImageFacts

PresetName = Literal["default", "paper"]

OF_THE_RUN = frozenset({"name", "preset", "seed", "color", "device", "precision", "max_minutes", "baselines"})
"""Options of the machine, the images or the report, which no paper gives."""


@dataclass(frozen=True)
class Paper:
    """The settings of a paper.

    Attributes:
        values: option -> the paper's value, in a form that the option accepts. None: follows from other options.
        also: option -> further values of the paper, in other experiments.
        free: options that depend on the data or choose what to run, such as the field with the reports.
    """

    values: dict[str, Any]
    also: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    free: frozenset[str] = frozenset()


class Published(Options):
    """Options of a method with a paper. Abstract base, not a method.

    Attributes:
        paper: the paper's settings; together with ``OF_THE_RUN`` they name every option.
    """

    paper: ClassVar[Paper]

    preset: PresetName = Field(
        "default",
        description="default: our settings; paper: every setting as in the paper. Options that are given, too, "
        "override it; the notes of the run list them.",
        json_schema_extra={"labels": {"default": "ours", "paper": "as in the paper"}},
    )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: Any) -> Any:
        """Add the paper's values, if the preset asks for them."""
        preset = values.get("preset") if isinstance(values, dict) else None
        if not isinstance(preset, str) or preset != "paper":  # an array is refused later, as any other value
            return values
        return {**cls.paper.values, **values}

    def with_changes(self, values: dict[str, Any]) -> dict[str, Any]:
        """See ``Options.with_changes``; with another preset only options that were given beside the old one stay."""
        preset = values.get("preset", self.preset)
        if not isinstance(preset, str) or preset == self.preset:
            return super().with_changes(values)
        old = type(self)(name=self.name, preset=self.preset)
        given = {name for name in self.model_fields_set if getattr(self, name) != getattr(old, name)}
        return {**self.model_dump(include=given - {"preset"}), "name": self.name, **values}

    def deviations(self) -> list[str]:
        """How these options differ from the paper: ``"rounds=20 (paper: 200)"``; empty without the preset."""
        return self._differences(self.paper.values, lambda options: options)

    def remarks(self, facts: ImageFacts) -> list[str]:
        """The preset, and what differs from the paper: as given, or as resolved for such images."""
        if self.preset != "paper":
            return []
        fixed = [name for name, value in self.paper.values.items() if value is not None]
        resolved = self._differences(fixed, lambda options: options.resolve(facts))
        found = list(dict.fromkeys([*self.deviations(), *resolved]))
        return [f"preset='paper': as in the paper{', except ' if found else ''}{', '.join(found)}"]

    def _differences(self, names: Iterable[str], settle: Callable[[Options], Options]) -> list[str]:
        """Options that differ after ``settle``, which is applied to these options and to the paper's."""
        if self.preset != "paper":
            return []
        mine, known, found = settle(self), settle(self._papers()), []
        for name in names:
            value, papers = getattr(mine, name), getattr(known, name)
            others = (settle(self._papers(**{name: one})) for one in self.paper.also.get(name, ()))
            if value != papers and not any(value == getattr(one, name) for one in others):
                found.append(f"{name}={_shown(value)} (paper: {_shown(papers)})")
        return found

    def _papers(self, **values: Any) -> Self:
        """The preset for the same data: with these options where the paper leaves them free, and ``values``."""
        free = {name: getattr(self, name) for name in self.paper.free}
        return type(self).model_validate({**free, "name": self.name, "preset": "paper", **values})


def _shown(value: object) -> object:
    """A value in a sentence: a part by its name and the options that were set."""
    if not isinstance(value, Part):
        return value
    set_ = {
        name: option for name, option in value.model_dump(exclude_defaults=True).items() if name != "name"
    }
    inner = ", ".join(f"{name}={option}" for name, option in set_.items())
    return f"{value.name}({inner})" if inner else value.name
