"""Which files are DICOM: folders, files and DICOMDIRs become a list, by content and not by name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from fiftyone_deepcluster.errors import ImagesError
from fiftyone_deepcluster.images.dicom import is_dicom
from fiftyone_deepcluster.images.dicom_header import raw_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Files: TypeAlias = Union[str, "os.PathLike[str]", "Sequence[str | os.PathLike[str]]"]

# Media Storage Directory Storage: the class of a DICOMDIR (PS3.3, F)
_DIRECTORY = b"1.2.840.10008.1.3.10"
# The class stands in the file's meta information, which comes first.
_META_BYTES = 1024


@dataclass
class Found:
    """What there is.

    Attributes:
        files: DICOM files, absolute and without symbolic links, each once, in the order of the walk.
        skipped: file -> why it cannot be read, or is not what it was given as.
        others: files in folders that are not DICOM.
    """

    files: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    others: int = 0


def find_dicom(given: Files) -> Found:
    """All DICOM files.

    Args:
        given: a folder, which is walked; a file; a DICOMDIR, which stands for the files it lists; or a
            sequence of such.

    Raises:
        ImagesError: nothing was given, or a single path that does not exist.
    """
    paths = [given] if isinstance(given, str | os.PathLike) else list(given)
    if not paths:
        raise ImagesError("there are no files; give a folder, a file, or a list of them")
    if len(paths) == 1 and not Path(paths[0]).exists():
        raise ImagesError(f"{os.fspath(paths[0])!r} does not exist; give a folder or DICOM files")
    found, seen = Found(), set[str]()
    for path in paths:
        top = Path(path)
        for file in _walk(top) if top.is_dir() else (top,):
            _take(file, found, seen, named=not top.is_dir())
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(place) / name


def _take(file: Path, found: Found, seen: set[str], *, named: bool) -> None:
    """Add a file, or the files that a DICOMDIR lists."""
    path = os.path.realpath(file)
    if path in seen:
        return
    seen.add(path)
    if not named and not Path(path).is_file():
        return  # a pipe or a socket, which could be waited for without end, or a link to nothing
    try:
        with Path(path).open("rb") as opened:
            head = opened.read(_META_BYTES)
        if not is_dicom(path, head):
            if named:
                found.skipped[path] = "it is not DICOM"
            found.others += not named
        elif _DIRECTORY in head:
            for listed in _listed(Path(path), found):
                _take(listed, found, seen, named=True)
        else:
            found.files.append(path)
    except OSError as error:
        found.skipped[path] = "there is no such file" if error.errno == 2 else f"{error.strerror}"


def _listed(directory: Path, found: Found) -> list[Path]:
    """The files that a DICOMDIR lists; only those below its own folder."""
    import pydicom

    try:
        records = pydicom.dcmread(directory, force=True, specific_tags=["DirectoryRecordSequence"])
        entries = [
            raw_texts(record, "ReferencedFileID") for record in records.get("DirectoryRecordSequence") or ()
        ]
    except Exception as error:
        # Damaged files raise anything.
        found.skipped[str(directory)] = f"the DICOMDIR cannot be read ({type(error).__name__})"
        return []
    folder = directory.parent
    files = []
    for parts in filter(None, entries):
        file = folder.joinpath(*parts)
        if not file.exists():
            # Disks copied by other systems have the names in small letters.
            file = folder.joinpath(*(part.lower() for part in parts))
        if file.resolve().is_relative_to(folder):
            files.append(file)
        else:
            found.skipped[str(file)] = "the DICOMDIR names a file outside its folder"
    return files
