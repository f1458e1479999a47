"""Jobs of the App in a process of their own: after a kill they are shown as failed, and can be started again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.operation import LEARNED, Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.background import Job


def _learned(dataset: fo.Dataset) -> None:
    import fiftyone_deepcluster as fdc

    fdc.cluster(dataset, key="dc", compute_brain=False, **LEARNED)


def _nothing(dataset: fo.Dataset) -> None:
    """Images alone."""


def dicom_files() -> list[str]:
    """Two small files of pydicom."""
    from pydicom.data import get_testdata_file

    return [str(Path(str(get_testdata_file(name)))) for name in ("CT_small.dcm", "MR_small.dcm")]


def _tree_job(dataset: fo.Dataset) -> Job:
    from fiftyone_deepcluster.dataset.background import Job

    return Job("build_category_tree", dataset, "dc", {"key": "dc"})


def _import_job(dataset: fo.Dataset) -> Job:
    from fiftyone_deepcluster.dataset.background import Job

    given = {"files": dicom_files(), "new_dataset": None, "side": 32, "workers": 1}
    return Job("import_dicom", dataset, "", given)


def _do(job: Job) -> None:
    from fiftyone_deepcluster.dataset.runs import queue

    ticket = job.enter(background=True)
    job.carry_out(queue.QueuedRun(job.samples, ticket))
    queue.leave(job.samples, job.name, ticket)


def _do_again(job: Job) -> None:
    """Check that the App shows the job as ended, and do it again."""
    from fiftyone_deepcluster.core.progress import Silent
    from fiftyone_deepcluster.dataset.runs.status import read_states

    shown = read_states(job.samples).get(job.name)
    if shown is not None and shown.status == "running":
        raise ValueError(f"{job.name} is shown as running: {shown.label}")
    if shown is None or not shown.busy:  # a queued one is shown as failed after a minute
        _do(job)
    else:
        job.carry_out(Silent())
    ended = read_states(job.samples)[job.name]
    if ended.status != "finished" or not ended.result:
        raise ValueError(f"{job.name} is shown as {ended.status}: {ended.text}")


def _operation(
    name: str,
    prepare: Callable[[fo.Dataset], None],
    job: Callable[[fo.Dataset], Job],
    ended: str,
    *,
    maps: bool = True,
) -> Operation:
    """Operation that does a job in this process; ``ended`` are the states when it is complete."""
    return Operation(
        name,
        prepare,
        lambda dataset: _do(job(dataset)),
        (ended,),
        lambda dataset, _: _do_again(job(dataset)),
        ended,
        maps=maps,
    )


JOBS = (
    _operation("job of a tree", _learned, _tree_job, "finished absent", maps=False),
    _operation("job of a DICOM import", _nothing, _import_job, "absent absent"),
)
