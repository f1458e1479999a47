"""Which elements of a DICOM header an import stores, and which it never stores."""

from __future__ import annotations

from pathlib import Path

import pydicom

from tests.dataset.dicom.test_import_files import add, carried, row


def everything_stored(dataset):
    """All text in the samples of a dataset, and the names and bytes of its PNG files."""
    import fiftyone as fo
    from fiftyone.core.odm import get_db_conn

    connection = get_db_conn()
    stored = [str(document) for document in connection[dataset._sample_collection_name].find()]
    stored.append(str(connection["datasets"].find_one({"name": dataset.name})))
    stored.append(str(fo.config.default_dataset_dir))
    texts = "\n".join(stored)
    for png in dataset.values("filepath"):
        texts += f"\n{png}\n" + Path(png).read_bytes().decode("latin-1")
    return texts


def marked(path: Path, source: str, **elements: str) -> None:
    data = pydicom.dcmread(carried(source))
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(path)


SECRETS = {
    "PatientName": "Doe^Jane^Xyzzy",
    "PatientID": "Xyzzy-4711",
    "PatientBirthDate": "19010203",
    "InstitutionName": "Xyzzy Hospital",
    "SeriesDescription": "knee of Jane Xyzzy",
    "ProtocolName": "Xyzzy",
    "StudyInstanceUID": "1.2.3.4711",
    "SeriesInstanceUID": "1.2.3.4711.1",
    "SOPInstanceUID": "1.2.3.4711.1.1",
    "AccessionNumber": "A4711",
    "ImageComments": "Xyzzy",
    "PatientAge": "077Y",
}


def test_no_identity_is_stored(tmp_path, dataset):
    (tmp_path / "in").mkdir()
    marked(tmp_path / "in" / "a", "MR_small.dcm", **SECRETS)
    assert add(tmp_path / "in", dataset).imported == 1
    stored = everything_stored(dataset)
    for secret in ("Xyzzy", "Jane", "4711", "19010203", "077Y"):
        assert secret not in stored, secret
    assert "MR" in stored


def test_free_text_in_a_coded_field_is_left_out(tmp_path, dataset):
    (tmp_path / "in").mkdir()
    marked(tmp_path / "in" / "a", "MR_small.dcm", BodyPartExamined="KNEE")
    # pydicom would complain of such a value when it is set
    path, text = tmp_path / "in" / "b", b"Knee, J^Xyzzy"
    marked(path, "MR_small.dcm", BodyPartExamined="A" * len(text) + "B")
    path.write_bytes(path.read_bytes().replace(b"A" * len(text) + b"B", text + b" "))
    assert add(tmp_path / "in", dataset).imported == 2
    assert sorted(dataset.values("dicom_body_part_examined"), key=str) == ["KNEE", None]


def test_named_keywords_are_read_and_only_those(tmp_path, dataset):
    (tmp_path / "in").mkdir()
    marked(tmp_path / "in" / "a", "MR_small.dcm", **SECRETS)
    add(tmp_path / "in", dataset, keywords=["PatientName", "SeriesDescription", "EchoTime"])
    first = dataset.first()
    assert first["dicom_patient_name"] == "Doe^Jane^Xyzzy"
    assert first["dicom_series_description"] == "knee of Jane Xyzzy"
    assert first["dicom_echo_time"] == 240.0
    assert not dataset.has_field("dicom_modality")


def test_hashes_keep_patients_together_and_tell_nothing(tmp_path, dataset):
    import fiftyone as fo

    (tmp_path / "in").mkdir()
    for number, (patient, series) in enumerate([("7", "1.1"), ("7", "1.2"), ("8", "1.3"), ("", "1.4")]):
        marked(tmp_path / "in" / str(number), "MR_small.dcm", PatientID=patient, SeriesInstanceUID=series)
    add(tmp_path / "in", dataset)
    groups = [row(dataset, str(number), "dicom_patient") for number in range(4)]
    assert groups[0] == groups[1] != groups[2]
    assert groups[3] is None
    assert len({row(dataset, str(number), "dicom_series") for number in range(4)}) == 4
    # a second import hashes alike, another dataset does not, unless it is given the same key
    marked(tmp_path / "in" / "more", "CT_small.dcm", PatientID="7")
    add(tmp_path / "in", dataset)
    assert row(dataset, "more", "dicom_patient") == groups[0]
    others = [fo.Dataset() for _ in range(3)]
    for other, key in zip(others, (None, "a long secret of ours", "a long secret of ours"), strict=True):
        add(tmp_path / "in", other, key=key)
    hashes = [row(other, "0", "dicom_patient") for other in others]
    assert len({groups[0], *hashes}) == 3
    assert hashes[1] == hashes[2]
    for other in others:
        other.delete()


def test_a_patient_is_one_in_whatever_character_set(tmp_path, dataset):
    (tmp_path / "in").mkdir()
    for number, character_set in enumerate(("ISO_IR 100", "ISO_IR 192", "ISO_IR 109")):
        marked(
            tmp_path / "in" / str(number),
            "MR_small.dcm",
            SpecificCharacterSet=character_set,
            PatientID="Müller-7",
            IssuerOfPatientID="Köln",
        )
    marked(tmp_path / "in" / "3", "MR_small.dcm", SpecificCharacterSet="ISO_IR 192", PatientID="Möller-7")
    add(tmp_path / "in", dataset)
    groups = [row(dataset, str(number), "dicom_patient") for number in range(4)]
    assert groups[0] == groups[1] == groups[2] != groups[3]
