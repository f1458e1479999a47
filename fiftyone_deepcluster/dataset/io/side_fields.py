"""Read the additional fields that a method uses: reports, groups, initial labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.core.words import all_of, counted
from fiftyone_deepcluster.dataset.io.read_fields import read_truth
from fiftyone_deepcluster.errors import InputError, OptionsError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.methods.base import KnownFields, Options

_MIN = 2
"""Minimum number of classes or groups."""


def read_known(source: SampleSource, options: Options) -> Known:
    """Values of the fields named in the options: ``group_field``, ``initial_field``, ``text_field``.

    Raises:
        OptionsError: ``initial`` needs a field that is not given.
        InputError: no such field, a field of another type, or one with fewer than two classes or groups.
    """
    fields = options.known_fields
    if fields.texts is not None:
        read_texts(source, fields.texts)  # key words are computed last; check their field first
    return Known(groups=_groups(source, fields.groups), initial=_initial(source, fields, options.seed))


def read_texts(source: SampleSource, field: str, option: str = "text_field") -> list[str | None]:
    """Text of every image, None if there is none; for objects, the text of their image.

    Raises:
        InputError: no such field, or it contains no text.
    """
    texts = read_truth(source, field, option)
    if not any(isinstance(text, str) and text.strip() for text in texts):
        raise InputError(f"{option}={field!r} contains no text; give the field with the reports")
    return [None if text is None else str(text) for text in texts]


def read_groups(source: SampleSource, field: str) -> list[object | None]:
    """Group of every image, None if there is none.

    Raises:
        InputError: no such field, a field of another type, or one that is empty.
    """
    groups = read_truth(source, field, "group_field")
    if all(group is None for group in groups):
        raise InputError(
            f"group_field={field!r} is empty for {all_of(len(groups), 'image')}; give a field with groups (patient, "
            "series), or none"
        )
    return groups


def _groups(source: SampleSource, field: str | None) -> list[object | None] | None:
    if field is None:
        return None
    groups = read_groups(source, field)
    if None not in groups and len(set(groups)) < _MIN:
        raise InputError(
            f"group_field={field!r} puts {all_of(len(groups), 'image')} into one group, so none can be held out; "
            "give a field with several groups (patient, series), or none"
        )
    return groups


def _initial(source: SampleSource, fields: KnownFields, seed: int) -> list[object | None] | None:
    from fiftyone_deepcluster.analysis.texts import topics

    if fields.initial == "labels":
        field = _named("initial_field", fields.labels, fields.initial)
        labels = read_truth(source, field, "initial_field")
        known = len({label for label in labels if label is not None})
        if known < _MIN:
            raise InputError(
                f"initial_field={field!r} has {counted(known, 'class', 'classes')}, but the first round needs at "
                f"least {_MIN}; give a field with more classes, or use initial='features'"
            )
        return labels
    if fields.initial == "topics":
        texts = read_texts(source, _named("text_field", fields.texts, fields.initial))
        found = topics(texts, fields.n_topics, seed).tolist()
        return [None if topic < 0 else topic for topic in found]
    return None


def _named(option: str, field: str | None, initial: str) -> str:
    if not field:
        raise OptionsError(
            f"initial={initial!r} needs {option}; give a field of the dataset, or use initial='features'"
        )
    return field
