"""Small things every section needs: test hooks in the page, and events that never break the panel."""

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
    """Props that put ``data-cy`` on a part of a view, for tests to find it."""
    return {part: {"data-cy": f"deepcluster-{name}", **more}}


def event(
    method: Callable[[Panel, foo.ExecutionContext], None],
) -> Callable[[Panel, foo.ExecutionContext], None]:
    """A panel's event whose errors become a notice; an uncaught one would replace the panel."""

    @functools.wraps(method)
    def safe(self: Panel, ctx: foo.ExecutionContext) -> None:
        try:
            method(self, ctx)
        except DeepClusterError as error:
            ctx.ops.notify(str(error), variant="error")
        except Exception as error:  # whatever it is, the panel stays usable
            logger.exception("event %s of the Clusters panel failed", method.__name__)
            ctx.ops.notify(f"{type(error).__name__}: {error}", variant="error")

    return safe
