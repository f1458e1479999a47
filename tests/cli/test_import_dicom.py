"""The ``import-dicom`` command on real files."""

import shutil
import uuid
from pathlib import Path

from pydicom.data import get_testdata_file


def test_images_are_imported_and_skipped_files_reported(invoke, fiftyone_home, tmp_path):
    import fiftyone as fo

    for name in ("CT_small.dcm", "SC_rgb_rle_2frame.dcm", "rtplan.dcm"):
        shutil.copy(get_testdata_file(name, download=False), tmp_path / Path(name).stem)
    name = f"dicom-{uuid.uuid4().hex[:8]}"
    done = invoke("import-dicom", str(tmp_path), name, "--option", "frames=first")
    assert done.exit_code == 0, done.output
    assert "2 images imported, 0 known already, 1 skipped" in done.output
    assert "without an image" in done.output
    dataset = fo.load_dataset(name)
    assert len(dataset) == 2
    dataset.delete()


def test_a_folder_that_is_not_there_is_one_line(invoke, fiftyone_home):
    done = invoke("import-dicom", "/no/such/folder", "anything")
    assert done.exit_code == 1
    assert "does not exist" in done.output
    assert "Traceback" not in done.output


def test_nothing_imported_is_no_success(invoke, fiftyone_home, tmp_path):
    import fiftyone as fo

    name = f"dicom-{uuid.uuid4().hex[:8]}"
    (tmp_path / "notes.txt").write_text("notes")
    done = invoke("import-dicom", str(tmp_path), name)
    assert done.exit_code == 1
    assert f"no DICOM file was found in {str(tmp_path)!r}" in done.output
    assert not fo.dataset_exists(name)
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), tmp_path)
    for _ in range(2):  # first imported, then known
        assert invoke("import-dicom", str(tmp_path), name).exit_code == 0
    fo.delete_dataset(name)
