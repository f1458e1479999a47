"""What a checkpoint must have in common with the call that resumes it."""

from __future__ import annotations

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.resuming import check_same, compared
from fiftyone_deepcluster.errors import CheckpointError


def test_checkpoints_of_versions_without_an_option_are_resumed_with_its_default(tmp_path):
    new = {"initial_tolerance", "initial_max_epochs"}
    options = fdc.LDPO(n_clusters=10)
    now = {"options": compared(options), "images": "these", "shape": [3]}
    older = {**now, "options": {name: value for name, value in now["options"].items() if name not in new}}
    check_same(older, now, tmp_path, "fit again")
    other = {**now, "options": compared(options.model_copy(update={"initial_tolerance": 0.2}))}
    with pytest.raises(CheckpointError, match=r"other options \(initial_tolerance\)"):
        check_same(older, other, tmp_path, "fit again")
