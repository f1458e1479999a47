"""Key-value store for small data about runs, in FiftyOne's execution store.

Values are deleted with the dataset and visible to every process that can access it. A value must be smaller than
16 MB (MongoDB's limit) and consist of JSON values: FiftyOne sends the store's values to browsers as JSON, and a value
that cannot be sent stops its notifications of all stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fiftyone as fo
    from bson import ObjectId

_NAME = "deepcluster_runs"


def run_store(dataset: fo.Dataset) -> fo.operators.ExecutionStore:
    """The execution store of this package on a dataset."""
    from fiftyone.operators import ExecutionStore

    return ExecutionStore.create(_NAME, dataset_id=dataset._doc.id)


def find(dataset: fo.Dataset, pattern: str) -> dict[str, Any]:
    """Values of all keys that match a regular expression, in one query."""
    from fiftyone.core.odm import get_db_conn

    found = get_db_conn().execution_store.find(_query(dataset, pattern), {"key": 1, "value": 1})
    return {document["key"]: document["value"] for document in found}


def find_everywhere(pattern: str) -> dict[ObjectId, dict[str, Any]]:
    """Values of all keys that match a regular expression, by dataset id."""
    from fiftyone.core.odm import get_db_conn

    values: dict[ObjectId, dict[str, Any]] = {}
    for document in get_db_conn().execution_store.find({"store_name": _NAME, "key": {"$regex": pattern}}):
        values.setdefault(document["dataset_id"], {})[document["key"]] = document["value"]
    return values


def drop(dataset: fo.Dataset, pattern: str) -> None:
    """Delete all values whose keys match a regular expression."""
    from fiftyone.core.odm import get_db_conn

    get_db_conn().execution_store.delete_many(_query(dataset, pattern))


def delete_lock(dataset: fo.Dataset, key: str, token: str) -> None:
    """Delete a lock unless another process has taken it over."""
    from fiftyone.core.odm import get_db_conn

    own = {"store_name": _NAME, "dataset_id": dataset._doc.id, "key": key, "value.token": token}
    get_db_conn().execution_store.delete_one(own)


def _query(dataset: fo.Dataset, pattern: str) -> dict[str, Any]:
    return {"store_name": _NAME, "dataset_id": dataset._doc.id, "key": {"$regex": pattern}}
