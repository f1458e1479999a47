"""A folder with DICOM files from pydicom's test data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from pydicom.data import get_testdata_file

FILES = [
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm",
]  # fmt: skip


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
