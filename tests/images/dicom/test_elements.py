"""Elements of headers: what they are, and what counts as absent."""

from __future__ import annotations

import struct

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from fiftyone_deepcluster.images.dicom.elements import (
    decoded_text,
    first_integer,
    first_number,
    items,
    raw_numbers,
    raw_texts,
)
from tests.images.dicom.files import RAMP, image, lookup, save


def read(path, **elements):
    return pydicom.dcmread(save(path, image(RAMP, **elements)))


def with_window(path, text):
    """A window center written by hand, of which pydicom refuses most."""
    save(path, image(RAMP, WindowCenter="123456"))
    data = path.read_bytes()
    assert data.count(b"DS\x06\x00123456") == 1
    padded = text.encode() + b" " * (len(text) % 2)
    path.write_bytes(data.replace(b"DS\x06\x00123456", b"DS" + struct.pack("<H", len(padded)) + padded))
    return pydicom.dcmread(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("40", 40.0),
        (" 40.5 ", 40.5),
        ("-1e3\\7", -1000.0),
        ("", None),
        ("a", None),
        ("nan", None),
        ("1e999", None),
        ("\\7", None),
    ],
)
def test_decimal_text(tmp_path, text, value):
    assert first_number(with_window(tmp_path / "a.dcm", text), "WindowCenter") == value


def test_numbers_keep_their_places(tmp_path):
    found = raw_numbers(read(tmp_path / "a.dcm", WindowCenter=["40", "", "600"]), "WindowCenter")
    np.testing.assert_array_equal(found, [40, np.nan, 600])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[2000, 40]", [2000, 40]),
        ("2000;40", [2000, 40]),
        ("['2000', '40']", [2000, 40]),
        ("[2000\\40,5]", [2000, 40.5]),
        ("[]", []),
        ("[2000, a, 40]", [2000, np.nan, 40]),
    ],
)
def test_lists_as_programs_print_them(tmp_path, text, values):
    found = raw_numbers(with_window(tmp_path / "a.dcm", text), "WindowCenter")
    np.testing.assert_array_equal(found, values)


def test_binary_numbers_in_any_byte_order(tmp_path):
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        path = save(
            tmp_path / "a.dcm", image(RAMP, RescaleSlope=DataElement("RescaleSlope", "DS", "2")), syntax
        )
        found = pydicom.dcmread(path)
        assert (first_integer(found, "Rows"), first_number(found, "RescaleSlope")) == (16, 2.0)
        assert first_integer(found, "PlanarConfiguration", 5) == 5


def test_a_number_in_a_representation_of_its_own(tmp_path):
    found = read(tmp_path / "a.dcm", WindowWidth=DataElement("WindowWidth", "FD", 400.5))
    assert raw_numbers(found, "WindowWidth") == [400.5]
    signed = read(tmp_path / "a.dcm", PixelPaddingValue=DataElement("PixelPaddingValue", "SS", -2000))
    assert first_number(signed, "PixelPaddingValue") == -2000


def test_sequences(tmp_path):
    found = read(tmp_path / "a.dcm", VOILUTSequence=[lookup([1, 2])], ModalityLUTSequence=[])
    assert [raw_texts(item, "LUTExplanation") for item in items(found, "VOILUTSequence")] == [[]]
    assert items(found, "ModalityLUTSequence") == []
    assert items(found, "SharedFunctionalGroupsSequence") == []
    assert items(found, "Rows") == []


# pydicom itself warns of character sets that do not exist.
@pytest.mark.filterwarnings("ignore:Incorrect value for Specific:UserWarning")
@pytest.mark.filterwarnings("ignore:Unknown encoding:UserWarning")
@pytest.mark.parametrize(
    ("character_set", "encoding"),
    [
        ("ISO_IR 100", "latin-1"), ("ISO_IR 192", "utf-8"), ("ISO_IR 109", "iso8859-3"), ("ISO-IR 100", "latin-1"),
        ("GB18030", "gb18030"), ("", "utf-8"), ("", "latin-1"), ("ISO_IR 6", "utf-8"), ("NONSENSE", "utf-8"),
        ("ISO_IR 192", "latin-1"), ("\\ISO 2022 IR 100", "latin-1"),
    ],
)  # fmt: skip
def test_text_is_the_same_in_every_character_set(tmp_path, character_set, encoding):
    path = tmp_path / "a.dcm"
    raw = "Mü-7".encode(encoding)
    padded = raw + b" " * (len(raw) % 2)
    filler = "X" * len(padded)
    save(path, image(RAMP, PatientID=filler))
    data = path.read_bytes().replace(filler.encode(), padded)
    if character_set:
        text = character_set.encode() + b" " * (len(character_set) % 2)
        stated = b"\x08\0\x05\0CS" + struct.pack("<H", len(text)) + text
        at = data.index(b"\x08\0\x16\0UI")
        data = data[:at] + stated + data[at:]
    path.write_bytes(data)
    assert decoded_text(pydicom.dcmread(path), "PatientID") == "Mü-7"


def test_escape_sequences_and_composed_characters(tmp_path):
    names = ["", "ISO 2022 IR 87"]
    japanese = read(tmp_path / "a.dcm", SpecificCharacterSet=names, PatientID="山-7")
    assert decoded_text(japanese, "PatientID") == "山-7"
    apart = read(tmp_path / "b.dcm", SpecificCharacterSet="ISO_IR 192", PatientID="Mu\u0308-7")
    assert decoded_text(apart, "PatientID") == "Mü-7"
