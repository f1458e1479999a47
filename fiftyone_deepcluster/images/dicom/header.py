"""What may be known of a DICOM image besides its pixels: named elements, and ids that tell nobody's name.

Only elements on a list of keywords are read. The default list is meant to hold no identities: it has
coded strings and numbers of the acquisition only, all of which the Basic Application Level
Confidentiality Profile (PS3.15, table E.1-1) leaves in a file. Free text is not on it, although it would
be useful: series descriptions, protocol names and comments are typed by people, who type names too. Nor
are dates, times, UIDs, age, sex, device numbers and places. Text ends up in coded strings as well: those that
people choose are taken only if they are one of the terms that DICOM defines (``terms``), those that
machines write only if they look like a code (as PS3.5, CS, has it: 16 capital letters, digits, spaces and
underscores at most; dots and hyphens are let in) and hold no long number.

Ids and coded values are taken as the bytes that stand in the file: pydicom, asked for the value of an
element that breaks a rule, writes that value into the log.

Who is who is needed all the same, so that images of one patient can be kept together: patient, study
and series are given as keyed hashes (HMAC-SHA256). Without the key, even a guessed patient number cannot
be compared.
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
"""Keywords that are read where none are named."""

_CODED = re.compile(r"[A-Z0-9_ .-]{1,16}")
# Five digits and more, with what separates them left out, could be a date or a patient's number.
_LONG_NUMBER = re.compile(r"\d{5}")
_LARGEST = 2**63
_WHOLE = ("IS", "US", "SS", "UL", "SL", "UV", "SV")
_DECIMAL = ("DS", "FL", "FD")
# Kinds whose bytes are plain ASCII
_PLAIN = ("CS", "DS", "IS")
_TEXT = (
    "CS", "LO", "SH", "PN", "UI", "DA", "TM", "DT", "AS", "ST", "LT", "UT", "UC", "AE", "UR",
)  # fmt: skip
_GROUPING = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID")
_NEEDED = ("SOPClassUID", "Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation")
# Hexadecimal digits of a hash: enough to tell a million apart.
_DIGITS = 20


@dataclass(frozen=True)
class DicomHeader:
    """What the header of an image says.

    Attributes:
        values: of the keywords that have one.
        patient: keyed hash of the patient's number and its issuer; None where there is no number.
        study: keyed hash of the study's UID, or None.
        series: keyed hash of the series' UID, or None.
        frames: images in the file; 0 where it holds none.
        gray: whether the image is monochrome.
    """

    values: dict[str, Value]
    patient: str | None
    study: str | None
    series: str | None
    frames: int
    gray: bool


def check_keywords(keywords: tuple[str, ...]) -> None:
    """Raise InputError unless every keyword names an element that holds plain values."""
    from pydicom.datadict import dictionary_VR, keyword_dict

    for keyword in keywords:
        if keyword not in keyword_dict:
            near = difflib.get_close_matches(keyword, keyword_dict, n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ", e.g. Modality"
            raise InputError(f"keywords={keyword!r} is no DICOM keyword{hint}")
        if dictionary_VR(keyword) not in (*_WHOLE, *_DECIMAL, *_TEXT):
            raise InputError(
                f"keywords={keyword!r} holds {dictionary_VR(keyword)}, no text or number; leave it out"
            )


def field_kind(keyword: str) -> type:
    """What the values of a keyword are: str, int, float, or list (of float)."""
    from pydicom.datadict import dictionary_VM, dictionary_VR

    kind = dictionary_VR(keyword)
    if kind in _TEXT:
        return str
    if dictionary_VM(keyword) != "1":
        return list
    return int if kind in _WHOLE else float


def read_header(path: str, keywords: tuple[str, ...], key: bytes) -> DicomHeader:
    """Read the header of a DICOM file, and of it no more than was asked for.

    Args:
        path: the file.
        keywords: see ``check_keywords``.
        key: of the hashes.

    Raises:
        UnreadableImageError: its number of frames is none.
    """
    import pydicom

    found = pydicom.dcmread(
        path, stop_before_pixels=True, force=True, specific_tags=[*keywords, *_GROUPING, *_NEEDED]
    )
    values = {keyword: _value(found, keyword) for keyword in keywords if keyword in found}
    patient, issuer = raw_bytes(found, "PatientID"), raw_bytes(found, "IssuerOfPatientID")
    image = "Rows" in found and "Columns" in found
    return DicomHeader(
        values={keyword: value for keyword, value in values.items() if value is not None},
        patient=keyed_hash(key, "patient", issuer + b"\0" + patient) if patient else None,
        study=_hashed(found, "StudyInstanceUID", key),
        series=_hashed(found, "SeriesInstanceUID", key),
        frames=frame_count(found, path) if image else 0,
        gray="".join(raw_texts(found, "PhotometricInterpretation")).startswith("MONOCHROME"),
    )


def frame_count(found: Any, path: str) -> int:
    """Images that a header says are in its file; 1 where it says nothing, or 0 as some do of one image.

    Raises:
        UnreadableImageError: what it says is no number, or below 0, which no decoder takes.
    """
    texts = raw_texts(found, "NumberOfFrames")
    if not texts:
        return 1
    try:
        count = int(float(texts[0]))
    except (ValueError, OverflowError):
        count = -1
    if count < 0:
        raise UnreadableImageError(path, f"its NumberOfFrames is {short(texts[0])}, no number from 0 on")
    return max(1, count)


def keyed_hash(key: bytes, what: str, value: bytes) -> str:
    """HMAC-SHA256 of a value, cut to 20 hexadecimal digits; ``what`` keeps kinds of values apart."""
    return hmac.new(key, what.encode() + b"\0" + value, hashlib.sha256).hexdigest()[:_DIGITS]


def raw_bytes(found: Any, keyword: str) -> bytes:
    """The value of a text element as it stands in the file, without padding; empty where there is none."""
    element = found.get_item(keyword) if keyword in found else None
    value = getattr(element, "value", None)
    if value is None:
        return b""
    raw = value if isinstance(value, bytes) else str(value).encode()
    return raw.strip(b" \0")


def raw_texts(found: Any, keyword: str) -> list[str]:
    """The values of a text element as they stand in the file, without padding and empty ones."""
    parts = raw_bytes(found, keyword).decode("utf-8", "surrogateescape").split("\\")
    return [part.strip() for part in parts if part.strip()]


def _hashed(found: Any, keyword: str, key: bytes) -> str | None:
    uid = raw_bytes(found, keyword)
    return keyed_hash(key, keyword, uid) if uid else None


def _value(found: Any, keyword: str) -> Value | None:
    """The value of an element as its kind wants it; None where it is empty or does not conform."""
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
            return int(numbers[0]) if abs(numbers[0]) < _LARGEST else None  # more, no database holds
        return numbers if kind is list else numbers[0]
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        # Elements that break the rules of their own kind are common in the wild.
        return None


def _decoded(found: Any, keyword: str) -> list[Any]:
    """The values of an element as pydicom gives them."""
    from pydicom.multival import MultiValue

    raw = found[keyword].value
    many = list(raw) if isinstance(raw, MultiValue | list | tuple) else [raw]
    return [item for item in many if item is not None and str(item).strip()]


def _is_coded(keyword: str, texts: list[str]) -> bool:
    """Whether all values of a coded string are terms that the keyword may have, or at least look like codes."""
    known = TERMS.get(keyword)
    if known is not None:
        return all(compact_text(text) in known for text in texts)
    return all(_CODED.fullmatch(text) and not _LONG_NUMBER.search(compact_text(text)) for text in texts)
