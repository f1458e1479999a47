"""Property: header elements that say nothing about an image, and its encoding, do not change its picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fiftyone_deepcluster.images.dicom.pixels import read_dicom
from tests.images.dicom.files import bare, image, lookup, save


def _icon(undefined: bool) -> DataElement:
    """A sequence with pixel data of its own, before that of the image."""
    item = image(np.zeros((4, 4), np.uint8))
    item.is_undefined_length_sequence_item = undefined
    found = DataElement("IconImageSequence", "SQ", Sequence([item]))
    found.is_undefined_length = undefined
    return found


_KINDS = [np.uint8, np.int8, np.uint16, np.int16]
# What says something: the same for both files.
_MEANT = st.fixed_dictionaries(
    {},
    optional={
        "PhotometricInterpretation": st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
        "RescaleSlope": st.sampled_from(["2", "0.5", "-1", "1e-3"]),
        "RescaleIntercept": st.sampled_from(["-1024", "17.5"]),
        "window": st.sampled_from([("40", "80"), ("0", "1"), ("2048", "4096"), ("100", "1000")]),
        "VOILUTSequence": st.sampled_from(
            [[lookup(np.arange(256)[::-1], bits=8, kind="US")], [lookup(np.arange(4096), bits=16, kind="US")]]
        ),
        "PixelPaddingValue": st.sampled_from([0, 5, 100]),
    },
)
# What says nothing: each may be in one file and not in the other.
_HARMLESS = st.fixed_dictionaries(
    {},
    optional={
        "RescaleSlope": st.sampled_from(["", "1", "0", "1.0"]),
        "RescaleIntercept": st.sampled_from(["", "0", "0.0"]),
        "RescaleType": st.just("US"),
        "ModalityLUTSequence": st.sampled_from([[], [Dataset()], [lookup(b"", length=256)]]),
        "VOILUTSequence": st.sampled_from(
            [[], [Dataset()], [lookup(b"", length=16)], [lookup([3, 3], kind="US")]]
        ),
        "window": st.sampled_from([("", ""), ("40", ""), ("", "80"), ("40", "0"), ("40", "-80")]),
        "VOILUTFunction": st.sampled_from(["LINEAR", ""]),
        "PixelPaddingRangeLimit": st.just(200),
        "PresentationLUTShape": st.just("IDENTITY"),
        "PlanarConfiguration": st.just(0),
        "NumberOfFrames": st.sampled_from(["1", "0", ""]),
        "SmallestImagePixelValue": st.just(1),
        "icon": st.sampled_from([_icon(False), _icon(True)]),
        "private": st.just(DataElement((0x0029, 0x1002), "OB", bytes(100))),
        "LossyImageCompression": st.just("00"),
        "BurnedInAnnotation": st.just("NO"),
        "SpecificCharacterSet": st.just("ISO_IR 192"),
        "PhotometricInterpretation": st.just("MONOCHROME2"),
    },
)
_SYNTAXES = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]


def elements(drawn):
    found = dict(drawn)
    if "window" in found:
        found["WindowCenter"], found["WindowWidth"] = found.pop("window")
    return found


@st.composite
def stored(draw):
    """Values of some of their bits, and the elements that declare these."""
    kind = np.dtype(draw(st.sampled_from(_KINDS)))
    size = kind.itemsize * 8
    bits = draw(st.integers(min(6, size), size))
    low = -(2 ** (bits - 1)) if kind.kind == "i" else 0
    span = draw(st.integers(1, 2**bits))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = (low + random.integers(0, span, (12, 10))).astype(kind)
    return values, {"BitsStored": bits, "HighBit": bits - 1}


@settings(max_examples=200, deadline=None)
@given(stored(), _MEANT, _HARMLESS, st.sampled_from(_SYNTAXES), st.booleans(), st.integers(0, 2**16))
def test_same_picture(image_and_bits, meant, harmless, syntax, without_meta, seed):
    values, bits = image_and_bits
    meant = elements(meant)
    extra = {name: value for name, value in elements(harmless).items() if name not in meant}
    if {"WindowCenter", "WindowWidth"} & meant.keys():
        extra = {name: value for name, value in extra.items() if not name.startswith("Window")}
    if "PixelPaddingValue" in meant:
        extra.pop("PixelPaddingRangeLimit", None)
        # A value of more bits than are stored is compared with all bits.
        meant["PixelPaddingValue"] %= 2 ** bits["BitsStored"]
    size = values.dtype.itemsize * 8
    other_bits = np.random.default_rng(seed).integers(0, 2**size, values.shape) & ~(
        2 ** bits["BitsStored"] - 1
    )
    low_bits = values.astype(np.int64) & (2 ** bits["BitsStored"] - 1)
    dirty = (low_bits | other_bits).astype(f"u{size // 8}").view(values.dtype)
    with tempfile.TemporaryDirectory() as folder:
        plain = save(Path(folder) / "a.dcm", image(values, **bits, **meant))
        other = save(Path(folder) / "b.dcm", image(dirty, **bits, **meant, **extra), syntax)
        if without_meta and syntax != uid.DeflatedExplicitVRLittleEndian:
            other = bare(other, Path(folder) / "c", syntax.is_implicit_VR, syntax.is_little_endian)
        np.testing.assert_array_equal(read_dicom(other), read_dicom(plain))
