"""Search for DICOM files in folders, files and DICOMDIRs, by content instead of file name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from fiftyone_deepcluster.core.disk import is_refused
from fiftyone_deepcluster.errors import ImagesError
from fiftyone_deepcluster.images.dicom.elements import raw_texts
from fiftyone_deepcluster.images.dicom.pixels import is_dicom
from fiftyone_deepcluster.images.refs import address_of, not_a_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Files: TypeAlias = Union[str, "os.PathLike[str]", "Sequence[str | os.PathLike[str]]"]

# Media Storage Directory Storage: the SOP class of a DICOMDIR (PS3.3, F)
_DIRECTORY = b"1.2.840.10008.1.3.10"
# The SOP class is in the file meta information, at the start of the file.
_META_BYTES = 1024
_GIVE = "give a folder, a DICOM file, or a list of them"


@dataclass
class Found:
    """Result of a search.

    Attributes:
        files: unique absolute paths of DICOM files, symbolic links resolved, in the order of the search.
        skipped: file, folder or link to a folder -> why it was skipped.
        others: number of files in folders that are not DICOM.
    """

    files: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    others: int = 0


def find_dicom(given: Files) -> Found:
    """Find all DICOM files.

    Args:
        given: a folder, which is searched recursively; a file; a DICOMDIR, which is replaced by the files it
            lists; or a sequence of these.

    Raises:
        ImagesError: no paths, an item that is not a path, or a single path that cannot be read.
    """
    paths = check_paths(given)
    if len(paths) == 1:
        check_one(paths[0])
    found, seen = Found(), set[str]()
    for path in paths:
        folder = os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises if a parent folder is not accessible
        for file in _walk(path, found) if folder else (Path(path),):
            _take(file, found, seen, named=not folder)
    return found


def check_paths(given: object) -> list[str]:
    """The paths as a list of strings.

    Raises:
        ImagesError: no paths, or an item that is blank or not a path.
    """
    if isinstance(given, str | os.PathLike):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise ImagesError(f"files is {given!r}, a {type(given).__name__}; {_GIVE}")
    paths = []
    for path in given:
        text = os.path.expanduser(path) if isinstance(path, str | os.PathLike) else path  # noqa: PTH111 - keeps text
        if not isinstance(text, str):
            raise ImagesError(
                f"files contains {path!r}, a {type(path).__name__}, which is not a path; {_GIVE}"
            )
        if not text.strip() or "\0" in text:
            raise ImagesError(f"files contains {text!r}, which is not a valid path; {_GIVE}")
        paths.append(text)
    if not paths:
        raise ImagesError(f"files is empty; {_GIVE}")
    return paths


def check_one(path: str) -> None:
    """Raise ImagesError if a single path cannot be read, or is a pipe, a socket or the like."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError as error:
        address = address_of(path)
        reason = f"{path!r} does not exist; {_GIVE}" if address is None else not_a_file(address)
        raise ImagesError(reason) from error
    except OSError as error:
        raise ImagesError(f"{path!r} cannot be read ({error.strerror}); {_GIVE}") from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ImagesError(f"{path!r} is neither a file nor a folder; {_GIVE}")


def check_at_first_sight(path: str) -> None:
    """Refuse a single path at which no search finds a DICOM file: an empty folder, or another file.

    A folder with anything in it is not searched.

    Raises:
        ImagesError: as ``check_one``, or there is none.
    """
    check_one(path)
    try:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises if a parent folder is not accessible
            with os.scandir(path) as entries:
                if next(entries, None) is None:
                    raise ImagesError(f"the folder {path!r} is empty; {_GIVE}")
        elif not is_dicom(path):
            raise ImagesError(f"{path!r} is not a DICOM file; {_GIVE}")
    except OSError as error:
        raise ImagesError(f"{path!r} cannot be read ({error.strerror}); {_GIVE}") from error


def _walk(top: str, found: Found) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        found.skipped[_printable(os.path.realpath(error.filename))] = (
            f"the folder cannot be read: {error.strerror}"
        )

    for place, folders, names in os.walk(top, onerror=closed):
        folders.sort()
        for name in folders:
            link = os.path.join(place, name)  # noqa: PTH118 - Path.is_symlink raises if the name is too long
            if os.path.islink(link) and not Path(link).resolve().is_relative_to(Path(top).resolve()):  # noqa: PTH114
                found.skipped[_printable(link)] = (
                    "it is a symbolic link to a folder, which is not followed; add the target folder to files"
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
            # reading a pipe or a socket could block forever
            if named:
                found.skipped[shown] = "it is neither a file nor a folder"
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
            found.skipped[shown] = "its path is not valid UTF-8, which FiftyOne datasets need; rename it"
        else:
            found.files.append(path)
    except FileNotFoundError:
        _note_missing(file, path, found, named=named)
    except OSError as error:
        found.skipped[shown] = f"it cannot be read: {error.strerror}"


def _note_missing(file: Path, path: str, found: Found, *, named: bool) -> None:
    """Add the reason for a file that is not there; none if it was deleted since its folder was listed."""
    if named:
        address = address_of(path)
        found.skipped[_printable(path)] = "there is no such file" if address is None else not_a_file(address)
    elif file.is_symlink():
        found.skipped[_printable(str(file))] = "it is a symbolic link to a file that does not exist"


def _printable(path: str) -> str:
    """The path as valid UTF-8 for printing and storing: file names may contain other bytes."""
    return os.fsencode(path).decode("utf-8", "replace")


def _listed(directory: Path, found: Found) -> list[Path]:
    """The files listed by a DICOMDIR, if they are below its own folder; others are skipped."""
    import pydicom

    try:
        records = pydicom.dcmread(directory, force=True, specific_tags=["DirectoryRecordSequence"])
        entries = [
            raw_texts(record, "ReferencedFileID") for record in records.get("DirectoryRecordSequence") or ()
        ]
    except Exception as error:
        # Damaged files may raise anything.
        found.skipped[_printable(str(directory))] = f"the DICOMDIR cannot be read ({type(error).__name__})"
        return []
    folder = directory.parent
    files = []
    for parts in filter(None, entries):
        file = folder.joinpath(*parts)
        if not is_refused(file) and not file.exists():
            # Copies of discs made on other systems may have lower-case file names.
            file = folder.joinpath(*(part.lower() for part in parts))
        if file.resolve().is_relative_to(folder):
            files.append(file)
        else:
            found.skipped[_printable(str(file))] = "the DICOMDIR names a file outside its folder"
    return files
