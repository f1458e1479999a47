"""DICOM files: pydicom's test data, and files created for a test."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def carried(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return str(path)


def image(values: np.ndarray, **elements: Any) -> Dataset:
    """A data set of gray frames (H, W) or (N, H, W), or of color (H, W, 3); ``...`` removes an element."""
    values = np.asarray(values)
    color = values.shape[-1] == 3
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("1.2.3")
    data.Rows, data.Columns = values.shape[-3:-1] if color else values.shape[-2:]
    if values.ndim == 3 and not color:
        data.NumberOfFrames = len(values)
    data.SamplesPerPixel = 3 if color else 1
    data.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
    if color:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = values.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    data["PixelData"].VR = "OW" if values.itemsize > 1 else "OB"
    for name, value in elements.items():
        if value is ...:
            delattr(data, name)
        elif isinstance(value, DataElement):
            data.add(value)
        else:
            setattr(data, name, value)
    return data


def save(path: Path, data: Dataset, syntax: UID = ExplicitVRLittleEndian, frames: Any = None) -> str:
    """Write a data set; with compressed ``frames``, or their encapsulated form, these instead of its pixels."""
    if syntax == ExplicitVRBigEndian and data.BitsAllocated == 16:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if frames is not None:
        data.PixelData = frames if isinstance(frames, bytes) else encapsulate(list(frames))
        data["PixelData"].VR = "OB"
    data.save_as(path, enforce_file_format=True)
    return str(path)


def made(path: Path, values: np.ndarray, **elements: Any) -> str:
    """Write an uncompressed file of an image."""
    return save(path, image(values, **elements))


def lookup(
    entries: Any, first: int = 0, bits: int = 16, length: int | None = None, kind: str = "OW"
) -> Dataset:
    """An item of a LUT sequence; bytes are written as they are, numbers as words.

    The first value is written as a signed number if it is negative.
    """
    item = Dataset()
    length = len(entries) if length is None else length
    item.add(DataElement("LUTDescriptor", "US" if first >= 0 else "SS", [length % 65536, first, bits]))
    if not isinstance(entries, bytes):
        entries = np.asarray(entries, "<u2").tobytes() if kind == "OW" else [int(entry) for entry in entries]
    item.add(DataElement("LUTData", kind, entries))
    return item


def jpeg(values: np.ndarray, kind: str = "JPEG", **options: Any) -> bytes:
    """A compressed frame, made by Pillow."""
    file = BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def jpeg_2000(values: np.ndarray, irreversible: bool = False) -> bytes:
    return jpeg(values, "JPEG2000", no_jp2=True, irreversible=irreversible)


def bare(source: str, target: Path, implicit: bool = False, little: bool = True) -> str:
    """The data set of a file without preamble and file meta information."""
    data = pydicom.dcmread(source)
    del data.file_meta
    data.save_as(target, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    return str(target)
