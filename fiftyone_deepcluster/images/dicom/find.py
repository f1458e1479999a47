"""Which files are DICOM: folders, files and DICOMDIRs become a list, by content and not by name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from fiftyone_deepcluster.errors import ImagesError
from fiftyone_deepcluster.images.dicom.header import raw_texts
from fiftyone_deepcluster.images.dicom.pixels import is_dicom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Files: TypeAlias = Union[str, "os.PathLike[str]", "Sequence[str | os.PathLike[str]]"]

# Media Storage Directory Storage: the class of a DICOMDIR (PS3.3, F)
_DIRECTORY = b"1.2.840.10008.1.3.10"
# The class stands in the file's meta information, which comes first.
_META_BYTES = 1024
_GIVE = "give a folder, a DICOM file, or a list of them"


@dataclass
class Found:
    """What there is.

    Attributes:
        files: DICOM files, absolute and without symbolic links, each once, in the order of the walk.
        skipped: file, folder or link to one -> why it cannot be read, or is not what it was given as.
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
        ImagesError: nothing was given, something that is no path, or a single path that cannot be read.
    """
    paths = check_paths(given)
    if len(paths) == 1:
        check_one(paths[0])
    found, seen = Found(), set[str]()
    for path in paths:
        folder = os.path.isdir(path)  # noqa: PTH112 - a Path's raises where a folder above it is closed
        for file in _walk(path, found) if folder else (Path(path),):
            _take(file, found, seen, named=not folder)
    return found


def check_paths(given: object) -> list[str]:
    """The paths given, as a list.

    Raises:
        ImagesError: there are none, or one is empty or no path.
    """
    if isinstance(given, str | os.PathLike):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise ImagesError(f"files is {given!r}, a {type(given).__name__}; {_GIVE}")
    paths = []
    for path in given:
        text = os.path.expanduser(path) if isinstance(path, str | os.PathLike) else path  # noqa: PTH111 - keeps text
        if not isinstance(text, str):
            raise ImagesError(f"files holds {path!r}, a {type(path).__name__}, which is no path; {_GIVE}")
        if not text.strip() or "\0" in text:
            raise ImagesError(f"files holds {text!r}, which names nothing; {_GIVE}")
        paths.append(text)
    if not paths:
        raise ImagesError(f"there are no files; {_GIVE}")
    return paths


def check_one(path: str) -> None:
    """Raise ImagesError where a path given alone cannot be read, or only waited for."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError as error:
        raise ImagesError(f"{path!r} does not exist; {_GIVE}") from error
    except OSError as error:
        raise ImagesError(f"{path!r} cannot be read ({error.strerror}); {_GIVE}") from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ImagesError(f"{path!r} is neither a file nor a folder; {_GIVE}")


def _walk(top: str, found: Found) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        found.skipped[_printable(os.path.realpath(error.filename))] = (
            f"the folder cannot be read: {error.strerror}"
        )

    for place, folders, names in os.walk(top, onerror=closed):
        folders.sort()
        for name in folders:
            link = os.path.join(place, name)  # noqa: PTH118 - a Path's question fails where a name is too long
            if os.path.islink(link) and not Path(link).resolve().is_relative_to(Path(top).resolve()):  # noqa: PTH114
                found.skipped[_printable(link)] = (
                    "it is a link to a folder, and those are not followed; give the folder it leads to"
                )
        for name in sorted(names):
            yield Path(place) / name


def _take(file: Path, found: Found, seen: set[str], *, named: bool) -> None:
    """Add a file, or the files that a DICOMDIR lists."""
    path = os.path.realpath(file)
    if path in seen:
        return
    seen.add(path)
    shown = _printable(path)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            # a pipe or a socket could be waited for without end
            if named:
                found.skipped[shown] = "it is neither a file nor a folder to walk"
            return
        with Path(path).open("rb") as opened:
            head = opened.read(_META_BYTES)
        if not is_dicom(path, head):
            if named:
                found.skipped[shown] = "it is not DICOM"
            found.others += not named
        elif _DIRECTORY in head:
            for listed in _listed(Path(path), found):
                _take(listed, found, seen, named=True)
        elif shown != path:
            found.skipped[shown] = (
                "its name, or that of its folder, is no UTF-8 text, which a dataset needs; rename it"
            )
        else:
            found.files.append(path)
    except FileNotFoundError:
        if named:  # in a folder it is a link to nothing
            found.skipped[shown] = "there is no such file"
    except OSError as error:
        found.skipped[shown] = f"it cannot be read: {error.strerror}"


def _printable(path: str) -> str:
    """The path as it can be printed and stored: names of other systems may hold bytes that are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


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
        found.skipped[_printable(str(directory))] = f"the DICOMDIR cannot be read ({type(error).__name__})"
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
            found.skipped[_printable(str(file))] = "the DICOMDIR names a file outside its folder"
    return files
