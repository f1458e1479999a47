"""Walks through the kill points of an operation, each in a process forked from one that has imported all."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import shutil
import sys
import traceback
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.look import LostError, facts_of, look
from tests.faults.operation import N_FILES, N_IMAGES
from tests.faults.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import fiftyone as fo

    from tests.faults.points import Points

_KILLED = 9


@dataclass
class Walked:
    """Result of killing one operation at its kill points.

    Attributes:
        group: name of the operation.
        changes: its changes, in order.
        tried: number of kill points.
        lost: what was lost, by kill point.
    """

    group: str
    changes: list[str]
    tried: int = 0
    lost: dict[int, str] = field(default_factory=dict)


def walk(points: Points, group: str, root: Path, chosen: Callable[[int], Iterable[int]] = range) -> Walked:
    """Kill an operation before each of its changes, and check what is left.

    Args:
        points: counts the changes.
        group: name of the operation.
        root: folder with ``digits``; results of processes are written there.
        chosen: kill points to try, given their number.
    """
    whole, changes = _one(points, group, root, sys.maxsize)
    if "lost" in whole:
        return Walked(group, changes, 1, {-1: whole["lost"]})
    walked = Walked(group, changes)
    for number in chosen(len(changes)):
        found, seen = _one(points, group, root, number)
        if "lost" not in found and found["end"] != whole["end"]:
            found["lost"] = "the values in the end are others"
        walked.tried += 1
        if "lost" in found:
            walked.lost[number] = f"before {seen[-1]}: {found['lost']}"
    return walked


def _one(points: Points, group: str, root: Path, number: int) -> tuple[dict[str, Any], list[str]]:
    """Kill one process before change ``number``; what is found, and its changes so far."""
    name = f"faults-{uuid.uuid4().hex[:8]}"
    notes = root / f"{name}.json"
    done = _in_child(lambda: _act(points, group, name, number, notes))
    if "lost" in done and "killed" not in done:
        return {"lost": f"the operation failed: {done['lost']}"}, ["the start"]
    noted = json.loads(notes.read_text())
    found = _in_child(lambda: look_and_delete(name, group, noted["before"]))
    notes.unlink()
    return found, noted["changes"]


def _act(points: Points, group: str, name: str, number: int, notes: Path) -> dict[str, Any]:
    operation, dataset = OPERATIONS[group], make_dataset(name, notes.parent)
    operation.prepare(dataset)
    before = facts_of(dataset)
    points.disarm()

    def note() -> None:
        points.disarm()
        notes.write_text(json.dumps({"before": before, "changes": points.seen}))

    def die() -> None:
        note()
        os._exit(_KILLED)

    points.arm(number, die)
    operation.act(dataset)
    note()
    return {}


def make_dataset(name: str, root: Path, n: int = N_IMAGES) -> fo.Dataset:
    """A dataset of N digits with a human label each."""
    import fiftyone as fo

    dataset = fo.Dataset(name, persistent=True)
    files = sorted((root / "digits").iterdir())[:n]
    samples = [fo.Sample(str(file), ground_truth=fo.Classification(label=file.stem[-1])) for file in files]
    dataset.add_samples(samples, progress=False)
    return dataset


def write_digits(folder: Path) -> None:
    """Write the first of scikit-learn's digits as PNG files: ``0000-5.png`` shows a five."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder.mkdir()
    digits = load_digits()
    for row in range(N_FILES):
        pixels = (digits.images[row] * 255 / 16).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{row:04d}-{digits.target[row]}.png")


def import_all() -> None:
    """Import what the operations need, so that it is imported once."""
    import accelerate  # noqa: F401
    import faiss  # noqa: F401
    import fiftyone.brain.internal
    import fiftyone.operators.delegated  # noqa: F401
    import mongoengine.dereference  # noqa: F401
    import pydicom.data  # noqa: F401
    import sklearn.cluster  # noqa: F401
    import torch
    import torchvision  # noqa: F401

    import fiftyone_deepcluster as fdc

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(fdc.__path__, "fiftyone_deepcluster."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # a forked process need not look through, and so copy, what was imported


def look_and_delete(name: str, group: str, before: dict[str, Any]) -> dict[str, Any]:
    """``look``; then the dataset is deleted, in the same process, as each one connects to the database anew."""
    try:
        return look(name, group, before)
    finally:
        _delete(name)


def _delete(name: str) -> None:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.runs.run_files import dataset_dir

    for each in (name, f"{name}-origin"):
        if fo.dataset_exists(each):
            dataset = fo.load_dataset(each)
            shutil.rmtree(dataset_dir(dataset), ignore_errors=True)
            dataset.delete()


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Result of ``work`` in a forked process; ``lost`` if it failed, ``killed`` if it was killed."""
    return in_child(lambda _: work(), lambda _: None)


def in_child(
    work: Callable[[Callable[[str], None]], dict[str, Any]], serve: Callable[[str], None]
) -> dict[str, Any]:
    """Result of ``work`` in a forked process, which may ask this one to do something and wait until it is done.

    Args:
        work: gets a function that asks.
        serve: does what was asked for.

    Returns:
        The result; ``lost`` if it failed, ``killed`` if it was killed.
    """
    (reading, writing), (waiting, releasing) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "w") as pipe:

            def ask(what: str) -> None:
                pipe.write(json.dumps({"ask": what}) + "\n")
                pipe.flush()
                os.read(waiting, 1)

            pipe.write(json.dumps(_answer(lambda: work(ask))) + "\n")
        os._exit(0)
    os.close(writing)
    answer: dict[str, Any] = {"lost": "ended without an answer"}
    with os.fdopen(reading) as pipe:
        for line in pipe:
            answer = json.loads(line)
            if "ask" in answer:
                serve(answer["ask"])
                os.write(releasing, b".")
    os.close(waiting)
    os.close(releasing)
    _, status = os.waitpid(child, 0)
    if os.WEXITSTATUS(status) == _KILLED:
        return {"lost": "killed", "killed": True}
    return answer


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except LostError as error:
        return {"lost": str(error)}
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return {"lost": f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"}
