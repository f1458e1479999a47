"""What the dataset knows of its images and a method asks for: reports, groups, labels to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.source import Source, read_truth
from fiftyone_deepcluster.errors import InputError, OptionsError
from fiftyone_deepcluster.types import Known

if TYPE_CHECKING:
    from fiftyone_deepcluster.recipes.base import Options


def read_known(source: Source, options: Options) -> Known:
    """The values of the fields that the options name: ``group_field``, ``initial_field``, ``text_field``.

    Raises:
        OptionsError: ``initial`` asks for a field that is not named.
        InputError: no such field, or one of another kind.
    """
    group_field = getattr(options, "group_field", None)
    groups = None if group_field is None else read_truth(source, group_field, "group_field")
    return Known(groups=groups, initial=_initial(source, options))


def read_texts(source: Source, field: str, option: str = "text_field") -> list[str | None]:
    """The text of every image, None where there is none; for objects that of their image.

    Raises:
        InputError: no such field, or it holds no text.
    """
    texts = read_truth(source, field, option)
    if not any(isinstance(text, str) and text.strip() for text in texts):
        raise InputError(f"{option}={field!r} holds no text; name the field with the reports")
    return [None if text is None else str(text) for text in texts]


def _initial(source: Source, options: Options) -> list[object | None] | None:
    from fiftyone_deepcluster.analysis.texts import topics

    initial = getattr(options, "initial", "features")
    if initial == "labels":
        field = _named(options, "initial_field", initial)
        return read_truth(source, field, "initial_field")
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
