"""Elements of a DICOM header as the file stores them.

Values that violate their value representation are common in practice. pydicom converts them with warnings that
quote the value, which may identify a patient, or fails. So elements are read from their raw bytes, and what is
not of the expected type counts as absent.

All functions take a data set as ``pydicom.dcmread`` returns it, or an item of a sequence in it.
"""

from __future__ import annotations

import math
import re
import struct
import unicodedata
from typing import Any

# Binary numbers by value representation (PS3.5, 6.2)
_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "OW": "H", "OB": "B", "UN": "H"}
# pydicom's name of the value representation of elements that have one or the other
_EITHER = "US or SS"
_ESCAPE = b"\x1b"
# With one to three digits before it, not 0, and three after it, the comma could separate thousands
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,(\d{1,2}|\d{4,})|(0+|\d{4,}),\d{3})")
# Of lists as programs print them
_OPENING, _BRACKETS, _QUOTES = "[({", "[](){} \0", re.compile("['\"]")
# Character sets that state nothing about bytes above 127
_ASCII_ONLY = ("", "ISOIR6", "ISO2022IR6")


def raw_bytes(found: Any, keyword: str) -> bytes:
    """Raw value of a text element, without padding; empty if it is missing."""
    return _value(found, keyword).strip(b" \0")


def raw_texts(found: Any, keyword: str) -> list[str]:
    """Raw values of a multi-valued text element, without padding and without empty values."""
    parts = raw_bytes(found, keyword).decode("utf-8", "surrogateescape").split("\\")
    return [part.strip() for part in parts if part.strip()]


def decoded_text(found: Any, keyword: str) -> str:
    """Value of a text element in the character set that the file states, without padding.

    It is the same text in whatever character set two files have it: composed characters (NFC), and a guess if
    the bytes contradict the stated character set.
    """
    raw = raw_bytes(found, keyword)
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii")
    names = raw_bytes(found, "SpecificCharacterSet").decode("ascii", "replace").split("\\")
    return unicodedata.normalize("NFC", _decode(raw, [re.sub(r"\W|_", "", name).upper() for name in names]))


def raw_numbers(found: Any, keyword: str) -> list[float]:
    """Values of an element with numbers, as text or binary; NaN in place of one that is not a finite number.

    Text may also be a list as programs print it: in brackets or quotes, separated by semicolons or commas.
    """
    kind = _kind(found, keyword)
    if kind in _FORMATS:
        return list(map(float, _binary(found, keyword, _FORMATS[kind])))
    texts = _listed(raw_bytes(found, keyword).decode("ascii", "replace"))
    return [] if texts == [""] else [_number(text) for text in texts]


def first_number(found: Any, keyword: str) -> float | None:
    """First value of an element with numbers; None if it is missing, empty or not a finite number."""
    value = next(iter(raw_numbers(found, keyword)), math.nan)
    return None if math.isnan(value) else value


def first_integer(found: Any, keyword: str, default: int = 0) -> int:
    """First value of an element with whole numbers; ``default`` if it is missing or invalid."""
    value = first_number(found, keyword)
    return default if value is None else int(value)


def data_bytes(found: Any, keyword: str) -> tuple[bytes, str]:
    """Raw value of a binary element, and its byte order: ``"<"`` or ``">"``."""
    return _value(found, keyword), _order(found, keyword)


def items(found: Any, keyword: str) -> list[Any]:
    """Items of a sequence; empty if it is missing, empty or damaged."""
    from pydicom.sequence import Sequence

    try:
        value = found[keyword].value if keyword in found else None
    except Exception:
        # Damaged sequences may raise anything.
        return []
    return list(value) if isinstance(value, Sequence) else []


def _decode(raw: bytes, character_sets: list[str]) -> str:
    """Text of bytes that are not plain ASCII; names of character sets are without separators."""
    from pydicom.charset import decode_bytes, default_encoding, python_encoding

    known = {re.sub(r"\W|_", "", name): encoding for name, encoding in python_encoding.items()}
    encodings = [known.get(name, default_encoding) for name in character_sets]
    if _ESCAPE in raw:
        return str(decode_bytes(raw, encodings, set()))
    stated = [] if character_sets[0] in _ASCII_ONLY or character_sets[0] not in known else encodings[:1]
    for encoding in [*stated, "utf-8"]:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def _value(found: Any, keyword: str) -> bytes:
    element = found.get_item(keyword) if keyword in found else None
    value = getattr(element, "value", None)
    if value is None:
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


def _kind(found: Any, keyword: str) -> str:
    """Value representation: as in the file, or of the dictionary if the file has none."""
    from pydicom.datadict import dictionary_VR

    kind = getattr(found.get_item(keyword), "VR", None) if keyword in found else None
    known = dictionary_VR(keyword)
    if kind is None or kind == "UN":
        kind = known
    return "US" if kind.startswith(_EITHER) else str(kind)


def _order(found: Any, keyword: str) -> str:
    element = found.get_item(keyword) if keyword in found else None
    return "<" if getattr(element, "is_little_endian", True) else ">"


def _binary(found: Any, keyword: str, code: str) -> tuple[Any, ...]:
    value = _value(found, keyword)
    count = len(value) // struct.calcsize(code)
    return struct.unpack(f"{_order(found, keyword)}{count}{code}", value[: count * struct.calcsize(code)])


def _listed(text: str) -> list[str]:
    """Items of a list. Commas separate them only in brackets or before a space, others are decimal commas."""
    bare = _QUOTES.sub("", text.strip(_BRACKETS))
    if "\\" in bare or ";" in bare:
        return re.split(r"[\\;]", bare)
    return bare.split(",") if text[:1] in _OPENING or ", " in bare else [bare]


def _number(text: str) -> float:
    text = text.strip(" \0")
    try:
        value = float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
