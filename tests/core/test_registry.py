"""Registration of parts: which names and classes are accepted."""

from __future__ import annotations

import json
import os
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


_AT_ONCE = """
import threading
from fiftyone_deepcluster.methods.base import METHODS
together, counts = threading.Barrier(6), []
def ask():
    together.wait()
    counts.append(len(METHODS.names()))
threads = [threading.Thread(target=ask) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*counts, len(METHODS.names()))
"""


def test_threads_that_ask_first_at_once_all_get_every_name():
    done = subprocess.run([sys.executable, "-c", _AT_ONCE], capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 1
    assert len(done.stdout.split()) == 7


_OUTSIDE = {
    "exits": "raise SystemExit(3)",
    "fails": "raise ValueError('its library is too old')",
    "asks": "from fiftyone_deepcluster.clusterers.base import CLUSTERERS\nassert 'kmeans' in CLUSTERERS.names()",
    "works": """
from typing import Literal
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer

@CLUSTERERS.register
class Works(Clusterer):
    name: Literal["works"] = "works"

    def find(self, vectors, request): ...
""",
}


@pytest.fixture
def outside(tmp_path):
    """Run code where a package is installed of which some parts fail; returns what it printed, and its warnings."""
    for name, body in _OUTSIDE.items():
        (tmp_path / f"{name}_part.py").write_text(body)
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    lines = "".join(f"{name} = {name}_part\n" for name in _OUTSIDE)
    (info / "entry_points.txt").write_text(f"[fiftyone_deepcluster.parts]\n{lines}")

    def run(code):
        paths = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
        begin = "import json\nfrom fiftyone_deepcluster.clusterers.base import CLUSTERERS\n"
        done = subprocess.run(
            [sys.executable, "-c", begin + code], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return run


def test_outside_parts_that_fail_are_named_and_stop_nothing(outside):
    names, warnings = outside("print(json.dumps([CLUSTERERS.names(), CLUSTERERS.names()]))")
    assert names[0] == names[1]
    assert {"kmeans", "works"} <= set(names[0])
    for name in ("exits", "fails"):
        assert warnings.count(f"the entry point {name} = '{name}_part' failed") == 1
    assert "asks" not in warnings


def test_a_failed_outside_part_that_is_asked_for_raises_its_error(outside):
    code = (
        "try:\n    CLUSTERERS.get('fails')\n"
        "except Exception as error:\n    print(json.dumps([str(error), repr(error.__cause__)]))"
    )
    (message, cause), _ = outside(code)
    assert "there is no 'fails' among the clusterers" in message
    assert cause == "ValueError('its library is too old')"


def test_a_load_that_fails_is_tried_again():
    code = (
        "from fiftyone_deepcluster.core import registry\n"
        "from fiftyone_deepcluster.reducers.base import REDUCERS\n"
        "real, calls = registry.importlib.import_module, []\n"
        "def once(name, package=None):\n"
        "    calls.extend([name] * name.startswith('fiftyone_deepcluster'))\n"
        "    if len(calls) == 2:\n        raise MemoryError\n"
        "    return real(name, package)\n"
        "registry.importlib.import_module = once\n"
        "try:\n    REDUCERS.names()\n"
        "except MemoryError:\n    print(*REDUCERS.names())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"identity", "umap"} <= set(done.stdout.split())
