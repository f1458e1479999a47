"""Values of images before an edit, as text of limited length."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bson import ObjectId

_CHUNK_BYTES = 4_000_000
_ID_BYTES = 12
_ZLIB_LEVEL = 1


@dataclass(frozen=True)
class Old:
    """Value of one image before an edit.

    Attributes:
        sample_id: id of the sample.
        image_id: id of the object; the sample id for whole images.
        value: value as stored in MongoDB; None if there was none.
        which: index of the new value in ``Entry.written``.
    """

    sample_id: ObjectId
    image_id: ObjectId
    value: Any
    which: int = 0


def pack(olds: Iterable[Old]) -> Iterator[str]:
    """Values as texts: MongoDB's own format, which has all its types, compressed, in base 64."""
    chunk: list[Old] = []
    n_bytes = 0
    for old in olds:
        size = 2 * _ID_BYTES + _size(old.value)
        if chunk and n_bytes + size > _CHUNK_BYTES:
            yield _text(chunk)
            chunk, n_bytes = [], 0
        chunk.append(old)
        n_bytes += size
    if chunk:
        yield _text(chunk)


def unpack(text: str) -> list[Old]:
    """Values of one text of ``pack``."""
    import bson

    content = bson.decode(zlib.decompress(base64.b64decode(text)))
    ids = zip(_ids(content["samples"]), _ids(content["images"]), strict=True)
    rows = zip(ids, content["values"], content["which"], strict=True)
    return [Old(*pair, value, which) for pair, value, which in rows]


def _text(olds: Sequence[Old]) -> str:
    import bson

    content = bson.encode(
        {
            "samples": b"".join(old.sample_id.binary for old in olds),
            "images": b"".join(old.image_id.binary for old in olds),
            "values": [old.value for old in olds],
            "which": [old.which for old in olds],
        }
    )
    return base64.b64encode(zlib.compress(content, _ZLIB_LEVEL)).decode("ascii")


def _size(value: Any) -> int:
    import bson

    if value is None or isinstance(value, str):
        return len(value or "")
    return len(bson.encode({"value": value}))


def _ids(packed: bytes) -> list[ObjectId]:
    from bson import ObjectId

    return [ObjectId(packed[start : start + _ID_BYTES]) for start in range(0, len(packed), _ID_BYTES)]
