"""Rounds are appended; what is read is what was appended, for all images and for some."""

import numpy as np
import pytest

from fiftyone_deepcluster.core.history import LABELS_FILE, LOSSES_FILE, RoundHistory
from fiftyone_deepcluster.errors import CheckpointError

KEPT = np.array([0, 1, 3, 4, 7])


def rounds(*largest):
    rng = np.random.default_rng(0)
    return [(np.append(rng.integers(-1, k, 4), k), rng.random(5).astype(np.float32)) for k in largest]


@pytest.fixture(params=["files", "memory"])
def history(request, tmp_path):
    return RoundHistory(9, tmp_path / "run" if request.param == "files" else None, kept=KEPT)


def test_what_was_appended_is_read(history):
    appended = rounds(10, 200, 40_000)
    for labels, losses in appended:
        history.append(labels, losses)
    labels, losses = history.labels(), history.losses()
    assert len(history) == 3
    assert np.array_equal(labels[KEPT], np.stack([one for one, _ in appended], 1))
    assert np.array_equal(losses[KEPT], np.stack([one for _, one in appended], 1))
    without = np.setdiff1d(np.arange(9), KEPT)
    assert (labels[without] == -1).all()
    assert np.isnan(losses[without]).all()
    for rows in (slice(0, 0), slice(2, 5), slice(5, 6), slice(5, 20)):
        assert np.array_equal(history.labels(rows), labels[rows])
        assert np.array_equal(history.losses(rows), losses[rows], equal_nan=True)
    assert np.array_equal(history.labels(last=2), labels[:, -2:])


def test_without_rounds_and_without_training(history):
    assert history.labels().shape == history.losses().shape == (9, 0)
    history.append(np.arange(5), None)
    assert np.isnan(history.losses()).all()
    assert history.labels().dtype == np.int8


@pytest.mark.parametrize(("largest", "kind"), [(127, np.int8), (128, np.int16), (32_768, np.int32)])
def test_labels_take_the_smallest_type(history, largest, kind):
    history.append(*rounds(largest)[0])
    assert history.labels().dtype == kind
    assert history.labels().max() == largest


def test_the_last_round_is_replaced_except_in_the_file(tmp_path):
    history = RoundHistory(5, tmp_path)
    for labels, losses in rounds(10, 10):
        history.append(labels, losses)
    before = history.labels()
    history.replace_last(np.full(5, 300))
    assert (history.labels()[:, -1] == 300).all()
    assert np.array_equal(history.labels()[:, 0], before[:, 0])
    again = RoundHistory(5, tmp_path)
    again.load_state_dict(history.state_dict())
    assert np.array_equal(again.labels(), before)


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    history, appended = RoundHistory(5, tmp_path), rounds(10, 300, 10)
    history.append(*appended[0])
    known = history.state_dict()
    history.append(*appended[1])
    for name in (LABELS_FILE, LOSSES_FILE):
        with (tmp_path / name).open("ab") as file:
            file.write(b"half of a")
    again = RoundHistory(5, tmp_path)
    again.load_state_dict(known)
    again.append(*appended[2])
    assert np.array_equal(again.labels(), np.stack([appended[0][0], appended[2][0]], 1))
    assert (tmp_path / LABELS_FILE).stat().st_size == 2 * 5
    assert (tmp_path / LOSSES_FILE).stat().st_size == 2 * 5 * 4


def test_lost_rounds_are_named(tmp_path):
    history = RoundHistory(5, tmp_path)
    for labels, losses in rounds(10, 10):
        history.append(labels, losses)
    with (tmp_path / LOSSES_FILE).open("r+b") as file:
        file.truncate(30)
    with pytest.raises(CheckpointError, match=r"30 of 40 bytes.*delete the folder"):
        RoundHistory(5, tmp_path).load_state_dict(history.state_dict())
    with pytest.raises(CheckpointError, match="was shortened"):
        history.losses()
    (tmp_path / LABELS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"0 of 10 bytes"):
        RoundHistory(5, tmp_path).load_state_dict(history.state_dict())
    with pytest.raises(CheckpointError, match=r"was deleted.*cluster again"):
        history.labels()


def test_one_of_several_processes_writes(tmp_path):
    first, second = RoundHistory(5, tmp_path), RoundHistory(5, tmp_path, writes=False)
    for labels, losses in rounds(10, 300):
        second.append(labels, losses)
        first.append(labels, losses)
    assert np.array_equal(first.labels(), second.labels())
    assert (tmp_path / LABELS_FILE).stat().st_size == 5 + 2 * 5
