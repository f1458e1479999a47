"""Names of the clusters of a run that a person has reviewed, kept with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

_REVIEWED = "reviewed"  # in the config of the run, so that a clone of the dataset has it


def reviewed(run: KeptRun) -> list[str]:
    """Names of the reviewed clusters, in the order in which they were marked."""
    from fiftyone.core.odm import get_db_conn

    document = get_db_conn().runs.find_one(_run(run), {f"config.{_REVIEWED}": 1}) or {}
    return list(document.get("config", {}).get(_REVIEWED, []))


def set_reviewed(run: KeptRun, add: Sequence[str], remove: Sequence[str]) -> None:
    """Mark clusters as reviewed and others as not reviewed; each is one atomic change."""
    from fiftyone.core.odm import get_db_conn

    if remove:
        get_db_conn().runs.update_one(_run(run), {"$pull": {f"config.{_REVIEWED}": {"$in": list(remove)}}})
    if add:
        get_db_conn().runs.update_one(_run(run), {"$addToSet": {f"config.{_REVIEWED}": {"$each": list(add)}}})


def _run(run: KeptRun) -> dict[str, object]:
    return {"_dataset_id": run.dataset._doc.id, "config.uid": run.uid}
