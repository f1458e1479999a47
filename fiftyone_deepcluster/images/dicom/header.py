"""DICOM header fields without identities: an allow-list of elements, and pseudonymous ids.

Only elements on a list of keywords are read. The default list is meant to contain no identifying data: it
has only coded strings and numbers of the acquisition, all of which the Basic Application Level
Confidentiality Profile (PS3.15, table E.1-1) retains. It has no free text, although that would be useful:
series descriptions, protocol names and comments are typed by people and may contain names. Nor has it dates,
times, UIDs, age, sex, device numbers and places. Coded strings may contain free text, too. Those that people
choose are accepted only if they are terms defined by DICOM (``terms``), those that machines write only if they
look like a code (PS3.5, CS: at most 16 capital letters, digits, spaces and underscores; dots and hyphens are
also accepted) without a long number.

Ids and coded values are read from the raw bytes of the file (``elements``): for an element that violates the
standard, pydicom would write the value into the log.

To keep images of one patient together, patient, study and series are represented by keyed hashes
(HMAC-SHA256). Without the key, not even a guessed patient id can be verified.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.errors import InputError, UnreadableImageError
from fiftyone_deepcluster.images.dicom.elements import decoded_text, first_integer, raw_bytes, raw_texts
from fiftyone_deepcluster.images.dicom.terms import TERMS, compact_text

Value: TypeAlias = "str | int | float | list[float]"

SAFE_KEYWORDS = (
    "Modality", "BodyPartExamined", "Laterality", "ImageLaterality", "ViewPosition", "PatientPosition",
    "PatientOrientation", "ImageType", "PhotometricInterpretation", "BurnedInAnnotation",
    "MRAcquisitionType", "ScanningSequence", "SequenceVariant", "ScanOptions", "AcquisitionContrast",
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "MagneticFieldStrength", "EchoTrainLength",
    "TriggerTime", "TemporalPositionIdentifier", "KVP",
    "SliceThickness", "SpacingBetweenSlices", "SliceLocation", "PixelSpacing", "ImageOrientationPatient",
    "InstanceNumber", "Rows", "Columns", "BitsStored", "NumberOfFrames",
)  # fmt: skip
"""Keywords that are read by default."""

_CODED = re.compile(r"[A-Z0-9_ .-]{1,16}")
# Five or more digits, ignoring separators, could be a date or a patient id.
_LONG_NUMBER = re.compile(r"\d{5}")
_LARGEST = 2**63
_WHOLE = ("IS", "US", "SS", "UL", "SL", "UV", "SV")
_DECIMAL = ("DS", "FL", "FD")
# Value representations stored as plain ASCII
_PLAIN = ("CS", "DS", "IS")
_TEXT = (
    "CS", "LO", "SH", "PN", "UI", "DA", "TM", "DT", "AS", "ST", "LT", "UT", "UC", "AE", "UR",
)  # fmt: skip
_GROUPING = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID")
_NEEDED = (
    "SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
)  # fmt: skip
# Hexadecimal digits kept of a hash: enough to distinguish a million values.
_DIGITS = 20


@dataclass(frozen=True)
class DicomHeader:
    """Header fields of a DICOM file.

    Attributes:
        values: keyword -> value, for the requested keywords with a valid value.
        patient: keyed hash of the patient id and its issuer, or None without an id.
        study: keyed hash of the study UID, or None.
        series: keyed hash of the series UID, or None.
        frames: number of frames in the file; 0 if it has no image.
        gray: whether the image is monochrome.
    """

    values: dict[str, Value]
    patient: str | None
    study: str | None
    series: str | None
    frames: int
    gray: bool


def check_keywords(keywords: tuple[str, ...]) -> None:
    """Raise InputError unless every keyword is a DICOM keyword of text or numbers."""
    from pydicom.datadict import dictionary_VR, keyword_dict

    for keyword in keywords:
        if keyword not in keyword_dict:
            near = difflib.get_close_matches(keyword, keyword_dict, n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ", e.g. Modality"
            raise InputError(f"keywords={short(keyword)} is not a DICOM keyword{hint}")
        if dictionary_VR(keyword) not in (*_WHOLE, *_DECIMAL, *_TEXT):
            raise InputError(
                f"keywords={short(keyword)} has the type {dictionary_VR(keyword)}, not text or number; remove it"
            )


def field_kind(keyword: str) -> type:
    """Python type of the values of a keyword: str, int, float, or list (of float)."""
    from pydicom.datadict import dictionary_VM, dictionary_VR

    kind = dictionary_VR(keyword)
    if kind in _TEXT:
        return str
    if dictionary_VM(keyword) != "1":
        return list
    return int if kind in _WHOLE else float


def read_header(path: str, keywords: tuple[str, ...], key: bytes) -> DicomHeader:
    """Read the requested elements from the header of a DICOM file.

    Args:
        path: path of the file.
        keywords: keywords to read; see ``check_keywords``.
        key: secret key of the hashes.

    Raises:
        UnreadableImageError: the number of frames is invalid.
    """
    import pydicom

    found = pydicom.dcmread(
        path, stop_before_pixels=True, force=True, specific_tags=[*keywords, *_GROUPING, *_NEEDED]
    )
    values = {keyword: _value(found, keyword) for keyword in keywords if keyword in found}
    patient, issuer = (decoded_text(found, name).encode() for name in ("PatientID", "IssuerOfPatientID"))
    image = "Rows" in found and "Columns" in found
    return DicomHeader(
        values={keyword: value for keyword, value in values.items() if value is not None},
        patient=keyed_hash(key, "patient", issuer + b"\0" + patient) if patient else None,
        study=_hashed(found, "StudyInstanceUID", key),
        series=_hashed(found, "SeriesInstanceUID", key),
        frames=frame_count(found, path) if image else 0,
        gray=photometric_interpretation(found).startswith("MONOCHROME"),
    )


def frame_count(found: Any, path: str) -> int:
    """Number of frames according to the header; 1 if it is missing, or 0 as in some single-frame files.

    Raises:
        UnreadableImageError: the value is negative or not a number.
    """
    stated = raw_texts(found, "NumberOfFrames")
    count = first_integer(found, "NumberOfFrames", -1 if stated else 1)
    if count < 0:
        raise UnreadableImageError(path, f"its NumberOfFrames is {short(stated[0])}, not a number >= 0")
    return max(1, count)


def photometric_interpretation(found: Any) -> str:
    """Photometric interpretation; the usual one if it is missing, or does not suit the number of samples."""
    single = first_integer(found, "SamplesPerPixel", 1) == 1
    usual = "MONOCHROME2" if single else "RGB"
    stated = next(iter(raw_texts(found, "PhotometricInterpretation")), usual).upper()
    gray = stated.replace(" ", "")
    if gray in ("MONOCHROME1", "MONOCHROME2"):
        return gray if single else usual
    return stated if not single or stated == "PALETTE COLOR" else usual


def keyed_hash(key: bytes, what: str, value: bytes) -> str:
    """HMAC-SHA256 of a value, truncated to 20 hexadecimal digits; ``what`` separates kinds of values."""
    return hmac.new(key, what.encode() + b"\0" + value, hashlib.sha256).hexdigest()[:_DIGITS]


def _hashed(found: Any, keyword: str, key: bytes) -> str | None:
    uid = raw_bytes(found, keyword)
    return keyed_hash(key, keyword, uid) if uid else None


def _value(found: Any, keyword: str) -> Value | None:
    """Value of an element, converted to the type of its keyword; None if it is empty or invalid."""
    from pydicom.datadict import dictionary_VR

    representation, kind = dictionary_VR(keyword), field_kind(keyword)
    try:
        many = raw_texts(found, keyword) if representation in _PLAIN else _decoded(found, keyword)
        if not many or (representation == "CS" and not _is_coded(keyword, many)):
            return None
        if kind is str:
            return "\\".join(str(item).strip() for item in many)
        numbers = [float(item) for item in (many if kind is list else many[:1])]
        if not all(map(math.isfinite, numbers)):
            return None
        if kind is int:
            return int(numbers[0]) if abs(numbers[0]) < _LARGEST else None  # MongoDB stores 64-bit integers
        return numbers if kind is list else numbers[0]
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        # Elements that violate their value representation are common in practice.
        return None


def _decoded(found: Any, keyword: str) -> list[Any]:
    """Non-empty values of an element, as decoded by pydicom."""
    from pydicom.multival import MultiValue

    raw = found[keyword].value
    many = list(raw) if isinstance(raw, MultiValue | list | tuple) else [raw]
    return [item for item in many if item is not None and str(item).strip()]


def _is_coded(keyword: str, texts: list[str]) -> bool:
    """Whether all values of a coded string are known terms of the keyword; without a list, look like codes."""
    known = TERMS.get(keyword)
    if known is not None:
        return all(compact_text(text) in known for text in texts)
    return all(_CODED.fullmatch(text) and not _LONG_NUMBER.search(compact_text(text)) for text in texts)
