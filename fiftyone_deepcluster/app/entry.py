"""Where FiftyOne enters the plugin.

FiftyOne executes this file anew at every request, under a name of its own making: it does nothing at
the top but find the package, and ``register`` imports by absolute names, so that one copy of every
module exists.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiftyone.plugins.context import PluginContext

if importlib.util.find_spec("fiftyone_deepcluster") is None:
    # fetched by `fiftyone plugins download`, not installed: the plugin's own folder holds the package
    sys.path.append(str(Path(__file__).resolve().parents[2]))


def register(plugin: PluginContext) -> None:
    """Register every operator and panel of this plugin.

    Args:
        plugin: FiftyOne's ``PluginContext``.
    """
    from fiftyone_deepcluster.app.operators import OPERATORS
    from fiftyone_deepcluster.app.panels import PANELS

    for part in (*OPERATORS, *PANELS):
        plugin.register(part)
