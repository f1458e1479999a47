"""Import DICOM files with real execution contexts and FiftyOne's executor."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from pydicom.data import get_testdata_file

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import ClusterImages, ImportDicom
from fiftyone_deepcluster.app.params import parse_call
from fiftyone_deepcluster.dataset.runs import status
from tests.app.test_operators import requests_of


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "SC_rgb_rle_2frame.dcm", "MR_truncated.dcm"):
        shutil.copy(get_testdata_file(name, download=False), place / Path(name).stem)
    return place


@pytest.fixture
def dataset(fiftyone_home):
    made = fo.Dataset(f"dicom-{uuid.uuid4().hex[:8]}", persistent=True)
    yield made
    made.delete()


def test_form_says_what_is_wrong(make_context, dataset, folder):
    def complaint(name, **params):
        form = ImportDicom().resolve_input(make_context(dataset, params))
        return form.type.get_property(name).error_message or None

    assert complaint("files", files=str(folder)) is None
    assert "does not exist" in complaint("files", files=str(folder / "no"))
    assert "File name too long" in complaint("files", files="n" * 300)
    assert "is not a valid path" in complaint("files", files=" ")
    assert "did you mean SeriesDescription" in complaint("keywords", keywords="StudyID, SeriesDescriptions")
    assert complaint("keywords", keywords="StudyID,SeriesDescription") is None


def test_imports_and_says_what(make_context, dataset, folder):
    answer = ImportDicom().execute(make_context(dataset, {"files": str(folder), "keywords": "StudyID"}))
    assert answer["text"].startswith("4 images imported, 0 known already, 1 skipped")
    state = status.read_states(dataset)["job-import_dicom"]
    assert (state.status, state.method, state.result) == ("finished", "Import DICOM", answer["text"])
    dataset.reload()
    assert len(dataset) == 4
    assert dataset.has_field("dicom_study_id")
    assert not dataset.has_field("dicom_patient_name")


def test_images_go_where_the_form_says(make_context, asker, dataset, folder):
    import fiftyone as fo

    def notice(**params):
        return (
            ImportDicom().resolve_input(make_context(dataset, params)).type.get_property("target").view.label
        )

    other = f"made-{dataset.name}"
    assert notice() == f"The images are added to '{dataset.name}', which has 0 samples"
    assert notice(new_dataset=other) == f"A dataset '{other}' is created from the images"
    ImportDicom().execute(make_context(dataset, {"files": str(folder), "new_dataset": other}))
    try:
        assert status.read_states(dataset)["job-import_dicom"].made == other
        ask = asker(dataset)
        assert ask("poll", key=None)["jobs"][0]["made"] == other
        ask("open_made", key="job-import_dicom")
        assert ask.calls["open_dataset"] == {"dataset": other}
        assert (len(dataset), len(fo.load_dataset(other))) == (0, 4)
        assert notice(new_dataset=other) == f"The images are added to '{other}', which exists"
    finally:
        fo.delete_dataset(other)


def test_nothing_found_is_said(make_context, dataset, tmp_path):
    answer = ImportDicom().execute(make_context(dataset, {"files": str(tmp_path)}))
    assert "no DICOM file was found in" in answer["text"]


def test_the_form_opens_again_where_the_folder_is_gone(make_context, dataset, folder):
    params = {"files": str(folder / "no")}
    context = make_context(dataset, params, spaces=fo.Space().to_dict(), operator_uri=names.IMPORT_DICOM)
    assert ImportDicom().execute(context) is None
    called = requests_of(context)
    assert called["notify"]["variant"] == "error"
    assert "does not exist" in called["notify"]["message"]
    assert called["prompt_user_for_operation"]["params"] == params
    assert status.read_states(dataset) == {}


def test_from_a_script_and_by_a_worker(plugin, dataset, folder):
    operator = foo.get_operator(names.IMPORT_DICOM)
    operator(str(folder), dataset, frames="first")
    dataset.reload()
    assert len(dataset) == 3
    operator(str(folder), dataset, delegate=True)
    DelegatedOperationService().execute_queued_operations(operator=names.IMPORT_DICOM)
    dataset.reload()
    assert len(dataset) == 4


def test_cluster_images_reads_the_originals_by_default(make_context, dataset, folder):
    before = ClusterImages().resolve_input(make_context(dataset)).type.properties
    assert "media_field" not in before
    ImportDicom().execute(make_context(dataset, {"files": str(folder)}))
    dataset.reload()
    assert "media_field" in ClusterImages().resolve_input(make_context(dataset)).type.properties
    assert parse_call({"media_field": "filepath"}, dataset).settings["media_field"] == "filepath"
    assert "media_field" not in parse_call({"media_field": ""}, dataset).settings
