"""DICOM imports that are refused or end early."""

from __future__ import annotations

import shutil
import uuid

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.dicom.import_files import import_steps, parse_dicom_options
from fiftyone_deepcluster.errors import CancelledError, ImagesError, InputError, OptionsError, RunLockedError
from tests.dataset.dicom.conftest import carried
from tests.dataset.dicom.test_import_files import add
from tests.observers import Watcher


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
        (tmp_path / "in").mkdir()
        for number in range(30):
            shutil.copy(carried("MR_small.dcm"), tmp_path / "in" / f"{number:03d}")
        with pytest.raises(CancelledError, match="are kept; to continue, repeat the call"):
            fdc.add_dicom(tmp_path / "in", dataset, observer=Watcher(after_steps=1), workers=1)
        assert 0 < len(dataset) < 30
        summary = add(tmp_path / "in", dataset)
        assert summary.imported + summary.known == 30 == len(dataset)
