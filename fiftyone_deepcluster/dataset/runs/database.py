"""FiftyOne's database: whether it responds, and whether the writes that it acknowledged are on its disk.

MongoDB acknowledges a write before it is in the journal on disk. A ``mongod`` that is killed loses the writes of
the last 100 ms, always a suffix of them: if the process that wrote them ended, too, the database looks as if that
process had been killed a little earlier. A process that continues after a restart of the database must check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from fiftyone_deepcluster.errors import DatabaseAwayError

if TYPE_CHECKING:
    import fiftyone as fo

_Owner = TypeVar("_Owner")
_Result = TypeVar("_Result")

_NOTHING = "deepcluster: no such key"


class DatabaseWatch:
    """Detects restarts of the database, which may lose writes."""

    def __init__(self) -> None:
        self._process = _server_process()

    def all_kept(self) -> bool:
        """Wait until every write so far is on disk; False if some may have been lost since the last call."""
        flush()
        before, self._process = self._process, _server_process()
        return bool(before == self._process)


def until_kept(dataset: fo.Dataset, write: Callable[[], _Result]) -> _Result:
    """Result of ``write``, whose writes are then on disk: it is called again if the database was restarted meanwhile.

    Args:
        dataset: dataset that it writes to; reloaded before each repetition, as it may differ from what is stored.
        write: may be repeated.
    """
    watch = DatabaseWatch()
    while True:
        result = write()
        if watch.all_kept():
            return result
        dataset.reload()


def flush() -> None:
    """Wait until every write that the database acknowledged is in its journal on disk; a few milliseconds."""
    from fiftyone.core.odm import get_db_conn
    from pymongo import WriteConcern

    # The journal is one sequence, so a journaled write that changes nothing waits for all before it
    store = get_db_conn().execution_store.with_options(write_concern=WriteConcern(w="majority", j=True))
    store.delete_one({"store_name": _NOTHING, "key": _NOTHING})


@contextmanager
def database_needed(way_out: str) -> Iterator[None]:
    """Raise DatabaseAwayError for the driver's errors if the database does not respond; also a decorator.

    Args:
        way_out: what to do once the database is back.

    Raises:
        DatabaseAwayError: the database was stopped, or cannot be reached.
    """
    from pymongo.errors import ConnectionFailure

    try:
        yield
    except ConnectionFailure as error:
        raise DatabaseAwayError(
            f"FiftyOne's database does not answer ({_reason(error)}). Start it (if FiftyOne started it, restart "
            f"Python; fiftyone-deepcluster doctor --deep checks it), then {way_out}"
        ) from error


def all_need_database(way_out: str) -> Callable[[type[_Owner]], type[_Owner]]:
    """``database_needed`` for every public method of a class; a decorator of the class."""

    def decorate(owner: type[_Owner]) -> type[_Owner]:
        for name, value in list(vars(owner).items()):
            if inspect.isfunction(value) and not name.startswith("_"):
                setattr(owner, name, database_needed(way_out)(value))
        return owner

    return decorate


def utc_now() -> datetime:
    """The time as MongoDB and FiftyOne store it: UTC, without a time zone."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def is_away(error: BaseException) -> bool:
    """Whether an error means that the database does not respond, so that nothing can be cleaned up in it."""
    from pymongo.errors import ConnectionFailure

    return isinstance(error, ConnectionFailure)


def _reason(error: Exception) -> str:
    """First sentence of the driver's message, without the description of its topology."""
    return str(error).split(" (configured", 1)[0].split(", Timeout:", 1)[0].strip().rstrip(".")


def _server_process() -> Any:
    """Id of the database's process, which differs after a restart; None for servers that do not report it."""
    from fiftyone.core.odm import get_db_conn

    return get_db_conn().command("hello").get("topologyVersion", {}).get("processId")
