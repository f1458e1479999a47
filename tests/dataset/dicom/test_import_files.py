"""Import of DICOM files: which files are imported, which are skipped, and which files a run then reads."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.dicom.samples import field_name
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.images.decode import read_image
from fiftyone_deepcluster.images.refs import ImageRef
from tests.dataset.dicom.conftest import carried

FRAMES = 9 + 29  # of the files in `folder`: the last holds two, the last but one 30


def add(files, dataset, **options):
    return fdc.add_dicom(files, dataset, progress=False, **options)


def row(dataset, name, field):
    """Value of a field of the first image of a file."""
    paths = [str(Path(path).name) for path in dataset.values("dicom_path")]
    return dataset.values(field)[paths.index(name)]


def test_first_frames_of_what_is_dicom_by_content(folder, dataset):
    summary = add(folder, dataset, frames="first")
    assert (summary.imported, summary.known, summary.skipped, summary.others) == (8, 0, {}, 2)
    assert str(summary) == "8 images imported, 0 known already, 0 skipped, 2 files are not DICOM"
    assert sorted(Path(path).name for path in dataset.values("dicom_path")) == [f"IM000{i}" for i in range(8)]
    assert set(dataset.values("dicom_frame")) == {0}
    assert dataset.media_type == "image"
    for path, meta in zip(*dataset.values(["filepath", "metadata"]), strict=True):
        with Image.open(path) as shown:
            assert shown.size == (meta.width, meta.height)
            assert shown.format == "PNG"
    assert row(dataset, "IM0000", "dicom_modality") == "CT"
    assert row(dataset, "IM0001", "dicom_repetition_time") == 4000.0
    assert row(dataset, "IM0001", "dicom_pixel_spacing") == [0.3125, 0.3125]


def test_every_frame_and_again_adds_nothing(folder, dataset):
    assert add(folder, dataset, frames="first").imported == 8
    again = add(folder, dataset)
    assert (again.imported, again.known) == (FRAMES - 8, 8)
    pairs = list(zip(*dataset.values(["dicom_path", "dicom_frame"]), strict=True))
    assert len(set(pairs)) == len(pairs) == FRAMES
    once_more = add(folder, dataset)
    assert (once_more.imported, once_more.known, len(dataset)) == (0, FRAMES, FRAMES)


def test_importing_again_makes_a_lost_png_again(folder, dataset):
    add(folder, dataset)
    dataset.set_values("note", [str(number) for number in range(FRAMES)])
    pngs = dataset.values("filepath")
    before = {png: Path(png).read_bytes() for png in pngs[2:5]}
    for png in before:
        Path(png).unlink()
    again = add(folder, dataset)
    assert (again.imported, again.known, again.restored, len(dataset)) == (0, FRAMES, 3, FRAMES)
    assert f"{FRAMES} known already (3 with a new PNG for a missing one)" in str(again)
    assert {png: Path(png).read_bytes() for png in before} == before
    assert dataset.values("note") == [str(number) for number in range(FRAMES)]
    assert add(folder, dataset).restored == 0


def test_a_lost_png_may_be_made_in_another_folder(folder, dataset, tmp_path):
    add(folder, dataset, frames="first")
    Path(dataset.first().filepath).unlink()
    assert add(folder, dataset, frames="first", folder=tmp_path / "png").restored == 1
    sample = dataset.first()
    assert Path(sample.filepath).is_relative_to(tmp_path / "png")
    assert sample.metadata.size_bytes == Path(sample.filepath).stat().st_size


def test_a_lost_png_that_cannot_be_written_again_is_reported(folder, dataset):
    add(folder, dataset)
    numbers, pngs = dataset.values(["dicom_frame", "filepath"])
    later = pngs[numbers.index(1)]
    Path(later).unlink()
    empty, blocked = [png for number, png in zip(numbers, pngs, strict=True) if number == 0][:2]
    Path(empty).write_bytes(b"")
    Path(blocked).unlink()
    Path(blocked).mkdir()
    summary = add(folder, dataset, frames="first")
    assert (summary.imported, summary.restored, summary.lost) == (0, 1, 2)
    assert "2 still without a PNG (import their files as well, with frames='all')" in str(summary)
    (reason,) = summary.skipped.values()
    assert f"{blocked} is in the way" in reason
    assert [file for file in Path(blocked).parent.iterdir() if file.suffix != ".png"] == []
    Path(blocked).rmdir()
    after = add(folder, dataset)
    assert (after.restored, after.lost, len(dataset)) == (2, 0, FRAMES)


def test_every_sample_of_an_image_gets_its_lost_png_back(folder, dataset):
    add(folder, dataset, frames="first")
    double = dataset.first().copy()
    dataset.add_sample(double)
    Path(double.filepath).unlink()
    assert add(folder, dataset, frames="first").restored == 2
    assert Path(dataset.last().filepath).is_file()


def test_a_clone_does_not_make_two_of_a_patient(folder, dataset, tmp_path):
    add(folder, dataset, frames="first")
    clone = dataset.clone()
    before = clone.values("dicom_patient")
    with pytest.raises(
        InputError, match="has DICOM images, but not the secret of their patient hashes: it was cloned"
    ):
        add(folder, clone)
    with pytest.raises(
        InputError, match=r"hashed with another secret: their import used no key, or another one"
    ):
        add(folder, clone, key="a key that somebody made up")
    assert clone.values("dicom_patient") == before
    clone.delete()


def test_a_key_must_be_given_again(folder, dataset):
    secret = {"key": "sixteen letters and more", "frames": "first"}
    add(folder, dataset, **secret)
    with pytest.raises(InputError, match="if the first import used a key, give that key"):
        add(folder, dataset)
    with pytest.raises(InputError, match=r"One patient would get two ids; give the key"):
        add(folder, dataset, key="seventeen letters and more", frames="first")
    assert add(folder, dataset, **secret).known == 8


def test_a_key_is_refused_where_the_first_import_had_none(folder, dataset):
    add(folder, dataset, frames="first")
    before = dataset.values("dicom_patient")
    with pytest.raises(InputError, match="their import used no key, or another one"):
        add(folder, dataset, key="sixteen letters and more")
    assert dataset.values("dicom_patient") == before
    assert add(folder, dataset).known == 8


def test_a_secret_is_believed_where_the_files_are_gone(dataset, tmp_path):
    (tmp_path / "a").mkdir()
    shutil.copy(get_testdata_file("MR_small.dcm"), tmp_path / "a")
    add(tmp_path / "a", dataset, key="sixteen letters and more")
    (tmp_path / "a").rename(tmp_path / "b")
    assert add(tmp_path / "b", dataset, key="sixteen letters and more").imported == 1
    assert len(dataset.distinct("dicom_patient")) == 1


def test_same_folder_by_a_link_is_the_same(folder, dataset, tmp_path):
    add(folder, dataset, frames="first")
    (tmp_path / "link").symlink_to(folder)
    assert add(tmp_path / "link", dataset, frames="first").known == 8


def test_png_is_what_networks_see_of_the_original(folder, dataset):
    add(folder, dataset, frames="first")
    for png, original in zip(*dataset.values(["filepath", "dicom_path"]), strict=True):
        with Image.open(png) as shown:
            pixels = np.atleast_3d(np.asarray(shown))
        np.testing.assert_array_equal(
            pixels, read_image(ImageRef(original), "gray" if pixels.shape[2] == 1 else "rgb")
        )


def test_an_empty_folder_is_fiftyones_own(folder, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add(folder, dataset, frames="first", folder="")
    assert not [path for path in dataset.values("filepath") if Path(path).is_relative_to(tmp_path)]


def test_large_images_are_shown_smaller(folder, dataset):
    add(folder, dataset, frames="first", side=100)
    assert row(dataset, "IM0000", "metadata.width") == 100
    assert row(dataset, "IM0001", "metadata.width") == 64
    assert max(dataset.values("metadata.width") + dataset.values("metadata.height")) == 100


def test_broken_files_are_reported_and_the_rest_goes_on(folder, dataset):
    shutil.copy(carried("MR_truncated.dcm"), folder / "short")
    shutil.copy(carried("rtplan.dcm"), folder / "plan")
    (folder / "half").write_bytes(carried("CT_small.dcm").read_bytes()[:2000])
    summary = add([folder, folder / "missing"], dataset, frames="first")
    assert summary.imported == 8
    reasons = {Path(path).name: reason for path, reason in summary.skipped.items()}
    assert set(reasons) == {"short", "plan", "half", "missing"}
    assert "without an image" in reasons["plan"]
    assert reasons["missing"] == "there is no such file"
    assert all(reasons.values())
    assert "4 skipped" in str(summary)
    assert str(folder / "plan") in str(summary)


def test_missing_codec_names_the_extra(folder, dataset, monkeypatch):
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEG2000Lossless

    decoder = get_decoder(JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0",)})
    summary = add(folder, dataset, frames="first")
    assert summary.imported == 7
    (reason,) = summary.skipped.values()
    assert 'pip install "fiftyone-deepcluster[dicom]"' in reason


def test_dicomdir_stands_for_the_files_it_lists(dataset, tmp_path):
    listed = carried("dicomdirtests/DICOMDIR").parent
    shutil.copytree(listed, tmp_path / "disk")
    by_directory = add(tmp_path / "disk" / "DICOMDIR", dataset)
    assert by_directory.imported + len(by_directory.skipped) >= 31
    (tmp_path / "disk" / "77654033" / "CR1" / "6154").unlink()
    again = add(tmp_path / "disk" / "DICOMDIR", dataset)
    assert again.imported == 0
    assert [reason for path, reason in again.skipped.items() if path.endswith("6154")] == [
        "there is no such file"
    ]


def test_every_slice_at_its_start(dataset, tmp_path):
    """Two slices at three times each, one file per image, and one file without a slice position."""
    (tmp_path / "in").mkdir()
    data = pydicom.dcmread(carried("MR_small.dcm"))
    for place in (0, 10):
        for time in (2, 1, 3):
            data.ImagePositionPatient = [0, 0, place]
            data.TriggerTime = 40.0 * time
            data.save_as(tmp_path / "in" / f"{place}-{time}")
    shutil.copy(carried("SC_rgb_rle_2frame.dcm"), tmp_path / "in" / "elsewhere")
    summary = add(tmp_path / "in", dataset, frames="start")
    names = sorted(Path(path).name for path in dataset.values("dicom_path"))
    assert names == ["0-1", "10-1", "elsewhere"]
    assert (summary.imported, summary.later) == (3, 4)
    assert "4 not at the start of a recording" in str(summary)
    assert add(tmp_path / "in", dataset, frames="start").known == 3


def test_many_files_go_to_processes(dataset, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(80):
        shutil.copy(carried("MR_small.dcm"), tmp_path / "in" / f"{number:03d}")
    (tmp_path / "in" / "040").write_bytes(carried("MR_truncated.dcm").read_bytes())
    summary = add(tmp_path / "in", dataset, workers=2)
    assert summary.imported == 79
    assert [Path(path).name for path in summary.skipped] == ["040"]


def test_a_name_makes_a_dataset_that_lasts(folder, fiftyone_home):
    import fiftyone as fo

    name = f"dicom-{uuid.uuid4().hex[:8]}"
    add(folder, name, frames="first")
    made = fo.load_dataset(name)
    assert made.persistent
    assert len(made) == 8
    assert add(folder, name, frames="first").known == 8
    made.delete()


@pytest.mark.parametrize(
    ("keyword", "name"),
    [("Modality", "dicom_modality"), ("KVP", "dicom_kvp"), ("MRAcquisitionType", "dicom_mr_acquisition_type"),
     ("BodyPartExamined", "dicom_body_part_examined"), ("PatientID", "dicom_patient_id")],
)  # fmt: skip
def test_names_of_fields(keyword, name):
    assert field_name(keyword) == name
