"""FiftyOne's database: whether it responds, and whether the writes that it acknowledged are on its disk.

MongoDB acknowledges a write before it is in the journal on disk. A ``mongod`` that is killed loses the writes of
the last 100 ms, always a suffix of them: if the process that wrote them ended, too, the database looks as if that
process had been killed a little earlier. A process that continues after a restart of the database must check.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime, timezone
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from fiftyone_deepcluster.errors import DatabaseAwayError

if TYPE_CHECKING:
    from types import TracebackType

    import fiftyone as fo

logger = logging.getLogger(__name__)

_Given = ParamSpec("_Given")
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


class DatabaseNeeded:
    """Context manager and decorator: raises DatabaseAwayError for the driver's errors, see ``database_needed``."""

    def __init__(self, way_out: str, key: Callable[[], str]) -> None:
        self._way_out, self._key = way_out, key

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not is_away(error):
            return
        key = self._key()
        about = f" the call for {key!r}" if key else ""
        raise DatabaseAwayError(
            f"FiftyOne's database does not answer{about} ({reason_away(error)}). Start it (if FiftyOne started it, "
            f"restart Python; fiftyone-deepcluster doctor --deep checks it), then {self._way_out}"
        ) from error

    def __call__(self, function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
        """The function within the context."""

        @wraps(function)
        def watched(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
            with DatabaseNeeded(self._way_out, lambda: self._key() or _key_of(function, args, kwargs)):
                return function(*args, **kwargs)

        return watched


def database_needed(way_out: str, key: str = "") -> DatabaseNeeded:
    """Raise DatabaseAwayError for the driver's errors if the database does not respond; also a decorator.

    Args:
        way_out: what to do once the database is back.
        key: key of the run or audit, for the message; of a decorated function, by default its argument ``key``, or
            the key of the run or audit that its object has.

    Raises:
        DatabaseAwayError: the database was stopped, or cannot be reached.
    """
    return DatabaseNeeded(way_out, lambda: key)


def _key_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Key of the run or audit that a call is about; empty if it is not about one."""
    call = inspect.signature(function).bind(*args, **kwargs)
    call.apply_defaults()
    owner = call.arguments.get("self")
    holders = [owner, *(getattr(owner, name, None) for name in ("run", "audit", "_kept"))]
    keys = [call.arguments.get("key"), *(getattr(holder, "key", None) for holder in holders)]
    return next((key for key in keys if isinstance(key, str)), "")


def all_need_database(way_out: str) -> Callable[[type[_Owner]], type[_Owner]]:
    """``database_needed`` for every public method of a class; a decorator of the class."""

    def decorate(owner: type[_Owner]) -> type[_Owner]:
        for name, value in list(vars(owner).items()):
            if inspect.isfunction(value) and not name.startswith("_"):
                setattr(owner, name, database_needed(way_out)(value))
        return owner

    return decorate


class Outages:
    """Warns once that the database does not respond, however many threads and repetitions notice it."""

    def __init__(self) -> None:
        self._lock, self._noticed = threading.Lock(), set[Hashable]()

    def notice(self, name: Hashable, meanwhile: str, error: BaseException) -> None:
        """Warn, unless this outage was noticed for this name already.

        Args:
            name: what the outage was noticed for: id of the dataset, and key of the run or name of the job.
            meanwhile: what happens meanwhile, for the message.
            error: the error of the driver.
        """
        with self._lock:
            known = name in self._noticed
            self._noticed.add(name)
        if not known:
            logger.warning("FiftyOne's database does not answer (%s); %s", reason_away(error), meanwhile)

    def over(self, name: Hashable) -> None:
        """The database has responded: the next outage is another one."""
        with self._lock:
            known = name in self._noticed
            self._noticed.discard(name)
        if known:
            logger.info("FiftyOne's database answers again")


OUTAGES = Outages()
"""Of this process."""


def utc_now() -> datetime:
    """The time as MongoDB and FiftyOne store it: UTC, without a time zone."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def is_away(error: BaseException) -> bool:
    """Whether an error means that the database does not respond, so that nothing can be cleaned up in it."""
    from pymongo.errors import ConnectionFailure

    return isinstance(error, ConnectionFailure)


def reason_away(error: BaseException) -> str:
    """First sentence of the driver's message, without the description of its topology."""
    return str(error).split(" (configured", 1)[0].split(", Timeout:", 1)[0].strip().rstrip(".")


def _server_process() -> Any:
    """Id of the database's process, which differs after a restart; None for servers that do not report it."""
    from fiftyone.core.odm import get_db_conn

    return get_db_conn().command("hello").get("topologyVersion", {}).get("processId")
