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
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.dataset.dicom.import_files import import_steps, parse_dicom_options
from fiftyone_deepcluster.dataset.dicom.samples import field_name
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.errors import CancelledError, ImagesError, InputError, OptionsError, RunLockedError
from fiftyone_deepcluster.images.decode import read_image
from fiftyone_deepcluster.images.refs import ImageRef

FILES = [
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm",
]  # fmt: skip
FRAMES = 9 + 29  # the last holds two, the last but one 30


def carried(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


@pytest.fixture
def folder(tmp_path):
    """Eight DICOM files without extension, and two files that are not DICOM, one of them named .dcm."""
    place = tmp_path / "in" / "deep"
    place.mkdir(parents=True)
    for number, name in enumerate(FILES):
        shutil.copy(carried(name), place / f"IM{number:04d}")
    (place / "notes.dcm").write_text("not DICOM at all, whatever its name is" * 10)
    Image.new("L", (40, 40)).save(place / "picture.png")
    return tmp_path / "in"


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


class TestRefusals:
    def test_no_dicom_makes_no_dataset(self, tmp_path, fiftyone_home):
        import fiftyone as fo

        (tmp_path / "notes.txt").write_text("notes")
        summary = add(tmp_path, "a name that is new")
        assert (summary.imported, summary.others) == (0, 1)
        assert summary.nothing
        assert str(summary).startswith(f"no DICOM file was found in {str(tmp_path)!r}; 0 images imported")
        assert "and 2 more; 0 images" in str(add([tmp_path] * 5, "a name that is new"))
        assert not fo.dataset_exists("a name that is new")

    def test_what_cannot_work_is_said_before_anything_is_done(self, folder, dataset):
        with pytest.raises(ImagesError, match="does not exist"):
            add(folder / "nowhere", dataset)
        with pytest.raises(ImagesError, match="files is empty"):
            add([], dataset)
        with pytest.raises(InputError, match="did you mean PatientName"):
            add(folder, dataset, keywords=["PatientNames"])
        with pytest.raises(InputError, match=r"has the type (OB or OW|OW|OB)"):
            add(folder, dataset, keywords=["PixelData"])
        with pytest.raises(OptionsError, match="frames"):
            add(folder, dataset, frames="some")
        with pytest.raises(OptionsError, match="did you mean 'frames'"):
            add(folder, dataset, frame="all")
        with pytest.raises(InputError, match="give a FiftyOne dataset or a dataset name"):
            add(folder, dataset.view())
        assert len(dataset) == 0
        assert not dataset.has_field("dicom_path")

    @pytest.mark.parametrize("name", ["", "  ", "!", None, 5])
    def test_names_that_cannot_be(self, folder, fiftyone_home, name):
        with pytest.raises(InputError, match="give a"):
            add(folder, name, frames="first")

    def test_a_dataset_that_is_deleted(self, folder, fiftyone_home):
        import fiftyone as fo

        gone = fo.Dataset()
        gone.delete()
        with pytest.raises(InputError, match="was deleted"):
            add(folder, gone)

    def test_an_error_leaves_no_new_dataset_behind(self, folder, tmp_path, fiftyone_home):
        import fiftyone as fo

        (tmp_path / "file").write_text("no folder")
        name = f"dicom-{uuid.uuid4().hex[:8]}"
        for place in (tmp_path / "file", tmp_path / "file" / "below", "~no-such-user/x", "a\0b"):
            with pytest.raises(ImagesError, match="PNG files cannot be written there"):
                add(folder, name, folder=place)
            assert not fo.dataset_exists(name)
        for number in range(256):  # a folder may be written to, and what is to be made in it is in the way
            (tmp_path / f"{number:02x}").write_text("in the way")
        with pytest.raises(ImagesError, match="PNG files cannot be written to"):
            add(folder, name, folder=tmp_path)
        assert not fo.dataset_exists(name)

    def test_a_new_dataset_without_an_image_is_not_kept_one_given_is(self, dataset):
        import fiftyone as fo

        name = f"dicom-{uuid.uuid4().hex[:8]}"
        summary = add(carried("rtplan.dcm"), name)
        assert summary.nothing
        assert "no DICOM file" not in str(summary)
        assert not fo.dataset_exists(name)
        assert add(carried("rtplan.dcm"), dataset).nothing
        assert fo.dataset_exists(dataset.name)

    def test_fields_of_keywords_that_are_of_another_kind(self, folder, dataset):
        import fiftyone as fo

        dataset.add_sample_field("dicom_modality", fo.IntField)
        dataset.add_sample_field("dicom_pixel_spacing", fo.ListField, subfield=fo.StringField)
        with pytest.raises(InputError, match=r"'dicom_modality' of another type .*StringField is needed"):
            add(folder, dataset)
        with pytest.raises(InputError, match=r"'dicom_pixel_spacing' of another type .*omit its keyword"):
            add(folder, dataset, keywords=["PixelSpacing"])
        assert not dataset.has_field("dicom_path")
        assert add(folder, dataset, frames="first", keywords=["Rows"]).imported == 8

    def test_other_media_and_fields_of_another_kind(self, folder, dataset):
        import fiftyone as fo

        videos = fo.Dataset()
        videos.add_sample(fo.Sample(filepath="a.mp4"))
        with pytest.raises(InputError, match="media of type 'video'"):
            add(folder, videos)
        videos.delete()
        dataset.add_sample_field("dicom_frame", fo.StringField)
        with pytest.raises(InputError, match="'dicom_frame' of another type"):
            add(folder, dataset)

    def test_one_import_at_a_time(self, folder, dataset):
        steps = import_steps(folder, dataset, parse_dicom_options({"frames": "first"}))
        next(steps)
        next(steps)
        with pytest.raises(RunLockedError):
            add(folder, dataset)
        steps.close()
        after = add(folder, dataset, frames="first")
        assert after.imported + after.known == 8, "the second call adds what the first left, once"
        assert len(dataset) == 8

    def test_cancelled_keeps_what_there_is_and_goes_on(self, dataset, tmp_path):
        class Impatient(Silent):
            def __init__(self):
                self.done = 0

            def advance(self, steps):
                self.done += steps

            def cancelled(self):
                return self.done > 0

        (tmp_path / "in").mkdir()
        for number in range(30):
            shutil.copy(carried("MR_small.dcm"), tmp_path / "in" / f"{number:03d}")
        with pytest.raises(CancelledError, match="are kept; to continue, repeat the call"):
            fdc.add_dicom(tmp_path / "in", dataset, observer=Impatient(), workers=1)
        assert 0 < len(dataset) < 30
        summary = add(tmp_path / "in", dataset)
        assert summary.imported + summary.known == 30 == len(dataset)


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


class TestClustering:
    def test_originals_are_read_by_default_and_their_frame(self, folder, dataset):
        add(folder, dataset)
        source = collect_images(dataset)
        expected = [
            ImageRef(path, frame=frame)
            for path, frame in zip(*dataset.values(["dicom_path", "dicom_frame"]), strict=True)
        ]
        assert source.images == expected
        pictures = collect_images(dataset, media_field="filepath")
        assert pictures.images == [ImageRef(path) for path in dataset.values("filepath")]
        view = dataset.sort_by("filepath").limit(5)
        assert [image.path for image in collect_images(view).images] == view.values("dicom_path")

    def test_mixed_with_plain_pictures(self, folder, dataset, digits_dir):
        import fiftyone as fo

        add(folder, dataset, frames="first")
        digit = str(next(iter(sorted(digits_dir.iterdir()))))
        dataset.add_sample(fo.Sample(filepath=digit))
        assert collect_images(dataset).images[-1] == ImageRef(digit)

    def test_patches_are_cut_from_the_originals(self, folder, dataset):
        import fiftyone as fo

        add(folder, dataset, frames="first")
        for sample in dataset:
            box = fo.Detection(label="left", bounding_box=[0, 0, 0.5, 1])
            sample["objects"] = fo.Detections(detections=[box])
            sample.save()
        source = collect_images(dataset, "objects")
        assert [image.path for image in source.images] == dataset.values("dicom_path")
        assert {image.box for image in source.images} == {(0, 0, 0.5, 1)}

    def test_missing_originals_are_an_error_with_the_way_out(self, folder, dataset):
        add(folder, dataset, frames="first")
        shutil.rmtree(folder)
        with pytest.raises(ImagesError, match="media_field='filepath'"):
            collect_images(dataset)
        assert len(collect_images(dataset, media_field="filepath")) == 8
        with pytest.raises(InputError, match="media_field='tags' is not a field"):
            collect_images(dataset, media_field="tags")

    def test_a_run_looks_at_the_originals(self, folder, dataset, monkeypatch):
        add(folder, dataset, frames="first")
        # were the PNG files looked at, nothing could be read
        for path in dataset.values("filepath"):
            Path(path).unlink()
        options = {"n_clusters": 2, "baselines": False, "progress": False, "compute_brain": False}
        run = fdc.cluster(dataset, "frozen", "dc", **options)
        assert (run.record.n_images, run.record.n_failed) == (8, 0)
        assert run.settings["media_field"] is None
        with pytest.raises(ImagesError):
            fdc.cluster(dataset, "frozen", "pictures", media_field="filepath", **options)
        assert fdc.assign(dataset, "dc") == 0
