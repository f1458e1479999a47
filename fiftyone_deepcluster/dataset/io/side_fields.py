"""What the dataset knows of its images and a method asks for: reports, groups, labels to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.dataset.io.read_images import read_truth
from fiftyone_deepcluster.errors import InputError, OptionsError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.methods.base import Options

_MIN = 2
"""Classes, or groups, to tell apart."""


def read_known(source: SampleSource, options: Options) -> Known:
    """The values of the fields that the options name: ``group_field``, ``initial_field``, ``text_field``.

    Raises:
        OptionsError: ``initial`` asks for a field that is not named.
        InputError: no such field, one of another kind, or one whose values leave nothing to tell apart.
    """
    text_field = getattr(options, "text_field", None)
    if text_field is not None:
        read_texts(source, text_field)  # key words come last; a field without words is told of first
    return Known(groups=_groups(source, options), initial=_initial(source, options))


def read_texts(source: SampleSource, field: str, option: str = "text_field") -> list[str | None]:
    """The text of every image, None where there is none; for objects that of their image.

    Raises:
        InputError: no such field, or it holds no text.
    """
    texts = read_truth(source, field, option)
    if not any(isinstance(text, str) and text.strip() for text in texts):
        raise InputError(f"{option}={field!r} holds no text; name the field with the reports")
    return [None if text is None else str(text) for text in texts]


def _groups(source: SampleSource, options: Options) -> list[object | None] | None:
    field = getattr(options, "group_field", None)
    if field is None:
        return None
    groups = read_truth(source, field, "group_field")
    if all(group is None for group in groups):
        raise InputError(
            f"group_field={field!r} says of none of the {len(groups)} images which group it is of; name a field that "
            "does (patient, series), or none"
        )
    if None not in groups and len(set(groups)) < _MIN:
        raise InputError(
            f"group_field={field!r} puts all {len(groups)} images into one group, so none can be held out; name a "
            "field with several groups (patient, series), or none"
        )
    return groups


def _initial(source: SampleSource, options: Options) -> list[object | None] | None:
    from fiftyone_deepcluster.analysis.texts import topics

    initial = getattr(options, "initial", "features")
    if initial == "labels":
        field = _named(options, "initial_field", initial)
        labels = read_truth(source, field, "initial_field")
        known = len({label for label in labels if label is not None})
        if known < _MIN:
            raise InputError(
                f"initial_field={field!r} holds {known} classes, and the first round must tell at least {_MIN} "
                "apart; name a field with more, or take initial='features'"
            )
        return labels
    if initial == "topics":
        texts = read_texts(source, _named(options, "text_field", initial))
        found = topics(texts, options.n_topics, options.seed).tolist()  # type: ignore[attr-defined]
        return [None if topic < 0 else topic for topic in found]
    return None


def _named(options: Options, field: str, initial: str) -> str:
    name = getattr(options, field, None)
    if not name:
        raise OptionsError(
            f"initial={initial!r} needs {field}; name a field of the dataset, or take initial='features'"
        )
    return str(name)
