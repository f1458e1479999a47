"""Helpers of all sections: test hooks in the page, and error handling of events."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from fiftyone_deepcluster.errors import DeepClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone.operators as foo

Panel = TypeVar("Panel")

logger = logging.getLogger(__name__)


def hook(name: str, part: str = "container", **more: Any) -> dict[str, dict[str, Any]]:
    """Component props that set ``data-cy`` on a part of a view, so that tests can find it."""
    return {part: {"data-cy": f"deepcluster-{name}", **more}}


def event(
    method: Callable[[Panel, foo.ExecutionContext], None],
) -> Callable[[Panel, foo.ExecutionContext], None]:
    """Decorate a panel event: show errors as notifications, as an uncaught one would replace the panel.

    The App's server passes on whatever method a client names: ``is_event`` is true for decorated ones only.
    """

    @functools.wraps(method)
    def safe(self: Panel, ctx: foo.ExecutionContext) -> None:
        try:
            method(self, ctx)
        except DeepClusterError as error:
            ctx.ops.notify(str(error), variant="error")
        except Exception as error:  # keep the panel usable after any error
            logger.exception("event %s of the Clusters panel failed", method.__name__)
            ctx.ops.notify(f"{type(error).__name__}: {error}", variant="error")

    safe.is_event = True  # type: ignore[attr-defined]
    return safe


def is_event(method: object) -> bool:
    """Whether ``event`` decorated the method."""
    return getattr(method, "is_event", False) is True
