"""Parameters of events, and error messages instead of exceptions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from fiftyone_deepcluster.app.wording import in_app_words
from fiftyone_deepcluster.errors import DeepClusterError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.runs.run import Run

Json: TypeAlias = dict[str, Any]
"""An answer of the panel, or a part of it."""

logger = logging.getLogger(__name__)


def answered(event: Callable[[foo.ExecutionContext], Any], ctx: foo.ExecutionContext) -> Json:
    """Carry out an event: ``{"value": ...}``, or ``{"message": ...}`` for the user if it fails.

    FiftyOne replaces the whole panel by an error page if an event raises.
    """
    try:
        return {"value": event(ctx)}
    except DeepClusterError as error:
        return {"message": in_app_words(error)}
    except Exception as error:  # keep the panel usable after any error
        logger.exception("event %s of the Clusters panel failed", event.__name__)
        return {"message": f"{type(error).__name__}: {error}"}


def text_param(ctx: foo.ExecutionContext, name: str) -> str:
    """A parameter that must be a string.

    Raises:
        InputError: it is missing, or something else.
    """
    value = ctx.params.get(name)
    if not isinstance(value, str):
        raise InputError(f"{name}={value!r} is not a string; the Clusters panel sent an invalid event")
    return value


def optional_text_param(ctx: foo.ExecutionContext, name: str) -> str | None:
    """A parameter that is a string or None."""
    return None if ctx.params.get(name) is None else text_param(ctx, name)


def texts_param(ctx: foo.ExecutionContext, name: str, most: int) -> list[str]:
    """A parameter that is a list of at most ``most`` strings."""
    values = ctx.params.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError(f"{name} is not a list of strings; the Clusters panel sent an invalid event")
    return values[:most]


def count_param(ctx: foo.ExecutionContext, name: str, most: int) -> int:
    """A parameter that is a whole number from 0; larger numbers are cut to ``most``."""
    value = ctx.params.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{name}={value!r} is not a whole number; the Clusters panel sent an invalid event")
    return min(value, most)


def flag_param(ctx: foo.ExecutionContext, name: str) -> bool:
    """A parameter that is true or false."""
    return ctx.params.get(name) is True


def field_paths(ctx: foo.ExecutionContext) -> set[str]:
    """Paths of all fields of the dataset."""
    return set(ctx.dataset.get_field_schema(flat=True))


def reload_shown(ctx: foo.ExecutionContext, *, fields_changed: bool) -> None:
    """Make the App read the samples again; the whole dataset if the sidebar has to show other fields, too."""
    if fields_changed:
        ctx.ops.reload_dataset()
    else:
        ctx.ops.reload_samples()


def user_of(ctx: foo.ExecutionContext) -> str | None:
    """Id of the user in FiftyOne Enterprise; None in the open-source App."""
    return str(ctx.user_id) if ctx.user_id else None


def run_of(ctx: foo.ExecutionContext) -> Run:
    """The run that the event is about."""
    from fiftyone_deepcluster.dataset.runs.run import load_run

    return load_run(ctx.dataset, text_param(ctx, "key"))
