"""Panels of the plugin."""

from fiftyone_deepcluster.app.panels.clusters import ClustersPanel

PANELS = (ClustersPanel,)
