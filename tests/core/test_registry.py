"""Registration of parts: which names and classes are accepted."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.core.registry import Part
from fiftyone_deepcluster.errors import OptionsError


@pytest.fixture(autouse=True)
def _clusterers():
    before = dict(CLUSTERERS._parts) if CLUSTERERS.names() else {}
    yield
    CLUSTERERS._parts.clear()
    CLUSTERERS._parts.update(before)


def _made(name="mine", module="my_package.parts", class_name="Mine", **more):
    """A clusterer as if it stood in ``module``."""
    body = {
        "__module__": module,
        "__qualname__": class_name,
        "__annotations__": {"name": Literal[name]},
        "name": name,
        "find": lambda self, vectors, request: None,
        **more,
    }
    return type(class_name, (Clusterer,), body)


def test_a_part_of_another_package_is_found_by_its_name():
    mine = CLUSTERERS.register(_made())
    assert CLUSTERERS.get("mine") is mine
    assert type(CLUSTERERS.parse("mine")) is mine
    assert "mine" in CLUSTERERS.names()


def test_a_cell_that_is_run_again_replaces_its_class():
    CLUSTERERS.register(_made(module="__main__"))
    again = CLUSTERERS.register(_made(module="__main__"))
    assert CLUSTERERS.get("mine") is again
    renamed = CLUSTERERS.register(_made(module="__main__", class_name="Better"))
    assert CLUSTERERS.get("mine") is renamed


def test_a_module_that_is_reloaded_replaces_its_class():
    CLUSTERERS.register(_made())
    again = CLUSTERERS.register(_made())
    assert CLUSTERERS.get("mine") is again


def test_a_name_that_another_file_has_is_refused():
    CLUSTERERS.register(_made())
    for other in (_made(module="other.parts"), _made(class_name="Another")):
        with pytest.raises(TypeError, match=r"'mine' in clusterers is taken by my_package.parts.Mine; give"):
            CLUSTERERS.register(other)


@pytest.mark.parametrize("module", ["__main__", "my_package.parts"])
def test_a_built_in_name_is_refused_even_for_a_class_of_the_same_name(module):
    with pytest.raises(
        TypeError, match=r"'kmeans' in clusterers is taken by fiftyone_deepcluster\.clusterers"
    ):
        CLUSTERERS.register(_made(name="kmeans", module=module, class_name="KMeans"))
    assert CLUSTERERS.get("kmeans") is KMeans


def test_a_built_in_name_is_refused_before_anything_was_looked_up():
    code = (
        "from typing import Literal\n"
        "from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer\n"
        "@CLUSTERERS.register\n"
        "class KMeans(Clusterer):\n"
        "    name: Literal['kmeans'] = 'kmeans'\n"
        "    def find(self, vectors, request): ...\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "TypeError: the name 'kmeans' in clusterers is taken by fiftyone_deepcluster." in done.stderr


def test_an_invalid_part_is_refused_with_what_is_missing():
    class Nothing(Clusterer):
        name: Literal["nothing"] = "nothing"

    class Old(Clusterer):
        name: Literal["old"] = "old"

        def cluster(self, vectors, request):
            return None

    class Nameless(Clusterer):
        def find(self, vectors, request):
            return None

    class Other(Part):
        name: Literal["other"] = "other"

    for part, says in (
        (Nothing, "Nothing does not implement find; every Clusterer needs it"),
        (Old, "Old.cluster overrides Clusterer.cluster, which is final; implement find instead"),
        (Nameless, "Nameless needs `name: Literal"),
        (Other, r"is not a subclass of Clusterer; write: class MyPart\(Clusterer\)"),
        (KMeans(), r"is not a subclass of Clusterer; write: class MyPart\(Clusterer\)"),
    ):
        with pytest.raises(TypeError, match=says):
            CLUSTERERS.register(part)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(OptionsError, match="there is no 'xyz' among the clusterers; choose one of: agglom"):
        CLUSTERERS.get("xyz")
