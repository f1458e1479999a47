"""Entry point of the FiftyOne plugin.

FiftyOne re-executes this file at every request under a generated module name. Top-level code therefore only
locates the package, and ``register`` uses absolute imports, so that every module is loaded once.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiftyone.plugins.context import PluginContext

if importlib.util.find_spec("fiftyone_deepcluster") is None:
    # downloaded by `fiftyone plugins download`, not pip-installed: import the package from the plugin folder
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
