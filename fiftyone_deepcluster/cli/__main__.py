"""``python -m fiftyone_deepcluster.cli``."""

from fiftyone_deepcluster.cli import app

app()
