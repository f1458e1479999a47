"""Which files are DICOM, and what is read of their headers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from fiftyone_deepcluster.errors import ImagesError, InputError
from fiftyone_deepcluster.images.decode import read_image
from fiftyone_deepcluster.images.dicom.find import find_dicom
from fiftyone_deepcluster.images.dicom.header import (
    SAFE_KEYWORDS,
    check_keywords,
    field_kind,
    keyed_hash,
    read_header,
)
from fiftyone_deepcluster.images.dicom.pixels import is_dicom
from fiftyone_deepcluster.images.refs import ImageRef


def carried(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


def without_preamble(target: Path, source: str = "CT_small.dcm") -> Path:
    """The same file from its first element on, with and without group 2."""
    data = carried(source).read_bytes()
    target.write_bytes(data[132:])
    return target


class TestWhatIsDicom:
    @pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "dicomdirtests/DICOMDIR", "JPEG2000.dcm"])
    def test_preamble(self, name):
        assert is_dicom(str(carried(name)))

    @pytest.mark.parametrize("name", ["ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm", "rtstruct.dcm"])
    def test_no_preamble(self, name):
        assert is_dicom(str(carried(name)))

    def test_no_preamble_is_read_as_the_same_image(self, tmp_path):
        bare = without_preamble(tmp_path / "IM1")
        assert is_dicom(str(bare))
        ours, theirs = (read_image(ImageRef(str(path)), "gray") for path in (bare, carried("CT_small.dcm")))
        assert (ours == theirs).all()

    @pytest.mark.parametrize(
        "content",
        [b"", b"x", b"\x08\0\x05\0" + b"z" * 300, b"\x02\0\0\0" * 80, b"\x89PNG\r\n\x1a\n" + b"\0" * 200],
    )
    def test_others(self, tmp_path, content):
        (tmp_path / "a.dcm").write_bytes(content)
        assert not is_dicom(str(tmp_path / "a.dcm"))


class TestFinding:
    def test_each_file_once_whatever_way_it_was_given(self, tmp_path):
        (tmp_path / "a").mkdir()
        shutil.copy(carried("CT_small.dcm"), tmp_path / "a" / "one")
        (tmp_path / "two").symlink_to(tmp_path / "a" / "one")
        found = find_dicom([tmp_path, tmp_path / "a", tmp_path / "a" / "one", tmp_path / "two"])
        assert found.files == [str(tmp_path / "a" / "one")]
        assert (found.skipped, found.others) == ({}, 0)

    def test_a_named_file_that_is_none_is_reported_one_in_a_folder_counted(self, tmp_path):
        (tmp_path / "notes.txt").write_text("notes")
        assert find_dicom([tmp_path]).others == 1
        assert find_dicom([tmp_path / "notes.txt"]).skipped == {
            str(tmp_path / "notes.txt"): "it is not DICOM"
        }

    def test_pipes_are_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        assert find_dicom(tmp_path).files == []
        with pytest.raises(ImagesError, match="pipe' is neither a file nor a folder; give a folder"):
            find_dicom(tmp_path / "pipe")
        found = find_dicom([tmp_path / "pipe", carried("CT_small.dcm")])
        assert found.skipped == {str(tmp_path / "pipe"): "it is neither a file nor a folder"}
        assert len(found.files) == 1

    def test_nothing(self, tmp_path):
        with pytest.raises(ImagesError, match="does not exist"):
            find_dicom(tmp_path / "no")
        with pytest.raises(ImagesError, match="cannot be read \\(File name too long\\)"):
            find_dicom("n" * 300)
        found = find_dicom([tmp_path / "no", tmp_path / "neither"])
        assert found.skipped == {str(tmp_path / name): "there is no such file" for name in ("no", "neither")}

    def test_addresses(self, tmp_path):
        with pytest.raises(ImagesError, match=r"^s3://scans/a is an address.*download it"):
            find_dicom("s3://scans/a")
        found = find_dicom(["https://example.org/a.dcm", tmp_path])
        ((path, reason),) = found.skipped.items()
        assert path.endswith("/https:/example.org/a.dcm")
        assert reason.startswith("https://example.org/a.dcm is an address")

    @pytest.mark.parametrize("given", ["", " ", [""], "a\0b", None, 5, [None], ["a", 5], b"/tmp", []])
    def test_what_is_no_path_is_refused(self, given, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ImagesError, match="give a folder, a DICOM file, or a list of them"):
            find_dicom(given)

    def test_links_to_nothing_or_in_a_circle_are_reported(self, tmp_path):
        (tmp_path / "nothing").symlink_to(tmp_path / "gone")
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        shutil.copy(carried("CT_small.dcm"), tmp_path / "one")
        found = find_dicom(tmp_path)
        assert found.files == [str(tmp_path / "one")]
        assert sorted(found.skipped) == [str(tmp_path / "circle"), str(tmp_path / "nothing")]
        assert (
            found.skipped[str(tmp_path / "nothing")] == "it is a symbolic link to a file that does not exist"
        )

    def test_folders_that_cannot_be_read_are_reported(self, tmp_path, monkeypatch):
        """Too deep for its path to be opened: that stops even those whom no permission stops."""
        shutil.copy(carried("CT_small.dcm"), tmp_path / "one")
        monkeypatch.chdir(tmp_path)
        for _ in range(17):
            Path("d" * 250).mkdir()
            os.chdir("d" * 250)
        monkeypatch.chdir(tmp_path)
        found = find_dicom(tmp_path)
        assert found.files == [str(tmp_path / "one")]
        ((path, reason),) = found.skipped.items()
        assert path.startswith(str(tmp_path / ("d" * 250)))
        assert reason == "the folder cannot be read: File name too long"

    def test_dicomdir_within_a_folder_adds_nothing_twice(self):
        folder = carried("dicomdirtests/DICOMDIR").parent
        by_walk, by_directory = find_dicom(folder), find_dicom(folder / "DICOMDIR")
        assert set(by_directory.files) <= set(by_walk.files)
        assert len(by_directory.files) == 31
        assert not [path for path in by_walk.files if "DICOMDIR" in Path(path).name]

    def test_dicomdir_may_not_name_files_outside_its_folder(self, tmp_path):
        (tmp_path / "disk").mkdir()
        shutil.copy(carried("CT_small.dcm"), tmp_path / "CT")
        directory = pydicom.dcmread(carried("dicomdirtests/DICOMDIR"))
        named = [record for record in directory.DirectoryRecordSequence if "ReferencedFileID" in record]
        for record in named:
            with pytest.warns(UserWarning, match="Invalid value for VR CS"):
                record.ReferencedFileID = ["..", "CT"]
        directory.save_as(tmp_path / "disk" / "DICOMDIR")
        found = find_dicom(tmp_path / "disk" / "DICOMDIR")
        assert found.files == []
        assert set(found.skipped.values()) == {"the DICOMDIR names a file outside its folder"}

    def test_names_in_small_letters_are_found(self, tmp_path):
        folder = carried("dicomdirtests/DICOMDIR").parent
        shutil.copytree(folder / "77654033", tmp_path / "77654033")
        (tmp_path / "77654033" / "CR1").rename(tmp_path / "77654033" / "cr1")
        shutil.copy(folder / "DICOMDIR", tmp_path)
        found = find_dicom(tmp_path / "DICOMDIR")
        assert str(tmp_path / "77654033" / "cr1" / "6154") in found.files


KEY = b"a key that nobody knows"


class TestHeader:
    def test_values_of_their_kinds(self):
        header = read_header(str(carried("MR_small.dcm")), SAFE_KEYWORDS, KEY)
        assert header.values["Modality"] == "MR"
        assert header.values["RepetitionTime"] == 4000.0
        assert header.values["Rows"] == 64
        assert header.values["ImageType"] == "DERIVED\\SECONDARY\\OTHER"
        assert header.values["PixelSpacing"] == [0.3125, 0.3125]
        assert (header.frames, header.gray) == (1, True)
        for keyword, value in header.values.items():
            assert isinstance(value, field_kind(keyword))

    def test_ids_are_keyed_hashes(self):
        path = str(carried("MR_small.dcm"))
        data = pydicom.dcmread(path)
        header = read_header(path, (), KEY)
        assert header.values == {}
        assert header.study == keyed_hash(KEY, "StudyInstanceUID", data.StudyInstanceUID.encode())
        assert header.patient == keyed_hash(KEY, "patient", b"\0" + data.PatientID.encode())
        assert len({header.patient, header.study, header.series}) == 3
        other = read_header(path, (), b"another key")
        assert {other.patient, other.study, other.series}.isdisjoint(
            {header.patient, header.study, header.series}
        )

    def test_frames_and_color(self):
        assert read_header(str(carried("SC_rgb_rle_2frame.dcm")), (), KEY).frames == 2
        assert not read_header(str(carried("SC_rgb_rle_2frame.dcm")), (), KEY).gray
        assert read_header(str(carried("rtplan.dcm")), (), KEY).frames == 0

    def test_default_keywords_hold_no_identities(self):
        """None is a name, date, time, UID or free text, and none is on a list of what identifies people."""
        from pydicom.datadict import dictionary_VR

        check_keywords(SAFE_KEYWORDS)
        assert {dictionary_VR(keyword) for keyword in SAFE_KEYWORDS} <= {"CS", "DS", "IS", "US", "FD"}
        identifying = {"PatientSex", "PatientAge", "PatientSize", "PatientWeight", "SeriesNumber"}
        assert identifying.isdisjoint(SAFE_KEYWORDS)

    @pytest.mark.parametrize("keyword", ["ReferencedImageSequence", "PixelData", "NoSuchThing"])
    def test_keywords_that_cannot_be_read(self, keyword):
        with pytest.raises(InputError, match=keyword):
            check_keywords((keyword,))

    def test_values_that_break_rules_are_not_read_and_not_reported(self, tmp_path, caplog):
        """pydicom would log them, and this test's warnings are errors."""
        data = carried("MR_small.dcm").read_bytes()
        known = pydicom.dcmread(carried("MR_small.dcm"))
        for keyword in ("ImageType", "PatientID", "StudyInstanceUID", "EchoTime"):
            value = str(known[keyword].value if keyword != "ImageType" else "SECONDARY").encode()
            assert value in data
            data = data.replace(value, (b"Doe^Jane" * 8)[: len(value)])
        (tmp_path / "a").write_bytes(data)
        header = read_header(str(tmp_path / "a"), SAFE_KEYWORDS, KEY)
        assert "ImageType" not in header.values
        assert "EchoTime" not in header.values
        assert header.values["Modality"] == "MR"
        assert None not in (header.patient, header.study)
        assert "Doe" not in caplog.text
        assert "Doe" not in str(header)
