"""Programs of ``benchmarks/`` called as on the command line, and small sets of digits for them."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from tests.images.dicom.files import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N, KINDS = 120, 4


@pytest.fixture(scope="session")
def small_digits() -> tuple[np.ndarray, np.ndarray]:
    """(120, 8, 8) uint8, thirty of each digit 0 to 3, and classes (120,)."""
    data = load_digits()
    rows = np.concatenate([np.flatnonzero(data.target == kind)[: N // KINDS] for kind in range(KINDS)])
    return (data.images[rows] * 15.9375).astype(np.uint8), data.target[rows].astype(np.int64)


@pytest.fixture(scope="session")
def npz(small_digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits in an npz file."""
    path = tmp_path_factory.mktemp("npz") / "few.npz"
    images, classes = small_digits
    np.savez(path, x=images, y=classes)
    return path


@pytest.fixture(scope="session")
def png_zip(small_digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as CLASS/number.png of 32 x 32 pixels."""
    folder = tmp_path_factory.mktemp("png")
    with zipfile.ZipFile(folder / "png.zip", "w") as archive:
        for row, (image, kind) in enumerate(zip(*small_digits, strict=True)):
            file = folder / f"{row}.png"
            Image.fromarray(image).resize((32, 32)).save(file)
            archive.write(file, f"kind-{kind}/{row}.png")
    return folder / "png.zip"


@pytest.fixture(scope="session")
def dicom_zip(small_digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as DICOM files in folders, 16 bits, 24 to 48 pixels high by class, beside a table."""
    folder = tmp_path_factory.mktemp("dicom")
    with zipfile.ZipFile(folder / "dicom.zip", "w") as archive:
        archive.writestr("manifest.csv", "file,class\n")
        for row, (image, kind) in enumerate(zip(*small_digits, strict=True)):
            large = np.asarray(Image.fromarray(image).resize((32, 24 + 8 * int(kind)))).astype(np.uint16)
            archive.write(made(folder / f"{row}.dcm", large * 7), f"kind-{kind}/{row}.dcm")
    return folder / "dicom.zip"


@pytest.fixture(autouse=True)
def _fonts_closed() -> Iterator[None]:
    """Matplotlib keeps the files of its fonts open."""
    yield
    fonts = sys.modules.get("matplotlib.font_manager")
    if fonts is not None:
        fonts._get_font.cache_clear()


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Call it with a program's name and arguments: what ``python -m benchmarks.NAME`` prints, in an empty folder."""

    def call(name: str, *arguments: object) -> str:
        program = importlib.import_module(f"benchmarks.{name}")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        # a program for a whole machine sets the threads of its process
        monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
        capsys.readouterr()
        program.main()
        return str(capsys.readouterr().out)

    return call


def table_rows(printed: str) -> list[dict[str, str]]:
    """The rows of the last table that was printed, by the names of its columns."""
    lines = [line.strip("|").split("|") for line in printed.splitlines() if line.startswith("|")]
    last = max(at for at, line in enumerate(lines) if set("".join(line)) == {"-"})
    header, rows = lines[last - 1], lines[last + 1 :]
    names = [cell.strip() for cell in header]
    return [dict(zip(names, (cell.strip() for cell in row), strict=True)) for row in rows]


def mean_of(cell: str) -> float:
    """The first number of a cell, ``mean`` or ``mean ± deviation``."""
    return float(cell.split(" ", maxsplit=1)[0])


def is_picture(path: Path, least: int = 50) -> bool:
    """Whether a file is an image with both sides of ``least`` pixels or more, which is not of one color."""
    with Image.open(path) as image:
        low, high = image.convert("L").getextrema()
        return bool(min(image.size) >= least and high > low)
