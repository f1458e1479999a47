"""Malformed DICOM files: reported, without affecting the import of other files."""

from __future__ import annotations

import os
import struct

import pydicom
import pytest

from fiftyone_deepcluster.dataset.dicom.samples import field_name
from fiftyone_deepcluster.errors import InputError
from tests.dataset.dicom.test_import_files import add, carried, row
from tests.observers import Watcher


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


def written(path, elements=None, source="MR_small.dcm"):
    """A DICOM file whose elements have the given values, even if they violate the value representation."""
    data = pydicom.dcmread(carried(source))
    fillers, kinds = {}, {}
    for number, (keyword, text) in enumerate((elements or {}).items()):
        # pydicom refuses such values; so a filler of the same length is written and replaced
        size = max(16, len(text) + len(text) % 2)
        fillers[keyword] = ("GHJKLN"[number] * size, text.ljust(size))
        tag, kind = pydicom.datadict.tag_for_keyword(keyword), pydicom.datadict.dictionary_VR(keyword)
        if keyword in data:
            del data[keyword]
        with pydicom.config.disable_value_validation():
            data.add(pydicom.DataElement(tag, "LO" if kind in ("IS", "DS") else kind, fillers[keyword][0]))
        header = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        kinds[header + b"LO"] = header + kind.encode()
    data.save_as(path)
    content = path.read_bytes()
    for wrong, right in kinds.items():
        content = content.replace(wrong, right)
    for filler, text in fillers.values():
        assert content.count(filler.encode()) == 1
        content = content.replace(filler.encode(), text.encode())
    path.write_bytes(content)


def test_numbers_that_no_database_holds_are_left_out(folder, dataset):
    written(
        folder / "a", {"InstanceNumber": "99999999999999999999", "EchoTime": "nan", "SliceLocation": "-1e400"}
    )
    written(folder / "b")
    assert add(folder, dataset).imported == 2
    names = ("dicom_instance_number", "dicom_echo_time", "dicom_slice_location")
    assert [row(dataset, "a", name) for name in names] == [None] * 3
    assert [row(dataset, "b", name) for name in names] == [1, 240.0, 0.0]


def test_a_file_name_that_is_not_utf8_is_reported(folder, dataset):
    written(folder / "a")
    os.rename(folder / "a", os.fsencode(folder) + b"/M\xfcller")  # noqa: PTH104 - bytes
    written(folder / "b")
    done = add(folder, dataset)
    assert done.imported == 1
    ((path, reason),) = done.skipped.items()
    assert path.endswith("M\N{REPLACEMENT CHARACTER}ller")
    assert "not valid UTF-8" in reason
    assert str(done).encode()


def test_more_frames_than_there_are(folder, dataset):
    written(folder / "a", {"NumberOfFrames": "2000000000"})
    done = add(folder, dataset)
    assert done.imported == 1
    assert len(done.skipped) == 21
    assert "up to 1999999999, were skipped after 20 failures in a row" in [*done.skipped.values()][-1]


@pytest.mark.filterwarnings("ignore:A value of '0'")  # pydicom's
def test_no_frames_is_one_image(folder, dataset):
    written(folder / "a", {"NumberOfFrames": "0"})
    assert add(folder, dataset).imported == 1


@pytest.mark.parametrize("frames", ["-5", "abc"])
def test_a_number_of_frames_that_is_none(folder, dataset, frames):
    written(folder / "a", {"NumberOfFrames": frames})
    written(folder / "b")
    done = add(folder, dataset)
    assert done.imported == 1
    assert [*done.skipped.values()] == [f"its NumberOfFrames is {frames!r}, not a number >= 0"]


def test_samples_come_in_the_order_of_the_files(folder, dataset):
    for number in range(80):
        written(folder / f"{number:02d}")
    add(folder, dataset, workers=2)
    paths = dataset.values("dicom_path")
    assert len(paths) == 80
    assert paths == sorted(paths)


@pytest.mark.parametrize(
    ("keyword", "text", "taken"),
    [
        ("PatientOrientation", "SMITH\\JOHN", False), ("PatientOrientation", "L\\PF", True),
        ("ScanOptions", "1970-01-01", False), ("ScanOptions", "12.05.1970", False), ("ImageType", "1234 5678", False),
        ("Modality", "JOHN", False), ("Modality", "MR", True), ("ViewPosition", "AP AXIAL", True),
        ("BodyPartExamined", "SMITH", False), ("BodyPartExamined", "UP_EXM", True), ("BodyPartExamined", "Chest", True),
    ],
)  # fmt: skip
def test_what_looks_like_a_name_or_a_date_is_left_out(folder, dataset, keyword, text, taken):
    written(folder / "a", {keyword: text})
    assert add(folder, dataset).imported == 1
    name = field_name(keyword)
    assert (row(dataset, "a", name) if dataset.has_field(name) else None) == (text if taken else None)


def test_coded_fields_hold_codes_only(folder, dataset):
    typed = {
        "BodyPartExamined": "Jane Doe", "ViewPosition": "MRN 12345678", "PatientPosition": "Dr. Miller",
        "ImageType": "PRIMARY\\Smith John", "ScanOptions": "SMITH_19700101", "AcquisitionContrast": "SMITH",
    }  # fmt: skip
    meant = {
        "BodyPartExamined": "L SPINE", "ViewPosition": "AP", "PatientPosition": "HFS",
        "ImageType": "ORIGINAL\\PRIMARY\\M", "ScanOptions": "FAST_GEMS", "AcquisitionContrast": "DIFFUSION",
    }  # fmt: skip
    written(folder / "typed", typed)
    written(folder / "meant", meant)
    assert add(folder, dataset).imported == 2
    fields = ("body_part_examined", "view_position", "patient_position", "image_type", "scan_options",
              "acquisition_contrast")  # fmt: skip
    assert [row(dataset, "typed", f"dicom_{name}") for name in fields] == [None] * 6
    assert [row(dataset, "meant", f"dicom_{name}") for name in fields] == list(meant.values())


def test_a_link_to_a_folder_is_reported(folder, dataset, tmp_path):
    written(folder / "a")
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "patient").symlink_to(folder)
    done = add(tmp_path / "outer", dataset)
    assert done.imported == 0
    assert "which is not followed; add the target folder to files" in str(done)


def test_an_invalid_observer_is_refused_and_a_valid_one_gets_the_phase_once(folder, dataset):
    watcher = Watcher()
    for number in range(20):
        written(folder / str(number))
    add(folder, dataset, observer=watcher)
    assert watcher.phases == [("import", 20)]
    with pytest.raises(InputError, match="observer=5 is not an Observer"):
        add(folder, dataset, observer=5)
