"""Speed on one GPU, in a few minutes: networks at 224 pixels, k-means, and an epoch of DAC.

    python -m benchmarks.gpu [--only networks kmeans dac] [--pretend]

A table: what was done, how fast, beside what, and the ratio of the two; above 1 this package is faster. Networks are
compared with bare passes: the same network, batch and precision, and a batch that lies on the GPU already. k-means is
compared with faiss on the GPU, and with flash-kmeans where it is installed, from the same initial centers. What cannot
be imported is skipped with a message. FiftyOne is not needed. ``--pretend`` runs every line on the CPU with tiny sizes:
its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NO_GPU = (
    "torch finds no CUDA GPU, and this measures one. Run it on a machine with a GPU and a CUDA build of torch, or add "
    "--pretend, which runs every line on the CPU with tiny sizes."
)
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        device: of torch.
        precision: of the networks.
        backbones: networks that are measured.
        images: number of images, of ``side`` pixels, in batches of ``batch``.
        steps: bare passes that are timed.
        vectors: number of vectors of k-means, of ``dim`` dimensions, in ``clusters``, by ``iterations``.
        dac_images: images of DAC, of 32 pixels.
    """

    device: str
    precision: str
    backbones: tuple[str, ...]
    images: int
    side: int
    batch: int
    steps: int
    vectors: int
    dim: int
    clusters: int
    iterations: int
    dac_images: int


ON_GPU = Sizes(
    device="cuda",
    precision="bfloat16",
    backbones=("alexnet", "vgg16", "resnet50"),
    images=6144,
    side=224,
    batch=256,
    steps=20,
    vectors=1_000_000,
    dim=256,
    clusters=20_000,
    iterations=20,
    dac_images=20_000,
)
PRETENDED = Sizes(
    device="cpu",
    precision="float32",
    backbones=("alexnet",),
    images=8,
    side=64,
    batch=4,
    steps=1,
    vectors=2000,
    dim=16,
    clusters=450,
    iterations=3,
    dac_images=100,
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=sorted(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--pretend", action="store_true")
    arguments = parser.parse_args()
    if not arguments.pretend and not torch.cuda.is_available():
        raise SystemExit(NO_GPU)
    sizes = PRETENDED if arguments.pretend else ON_GPU
    name = platform.processor() if arguments.pretend else torch.cuda.get_device_name()
    print(f"{name or 'CPU'}, torch {torch.__version__}, {sizes.precision}")
    rows = []
    for section in arguments.only:
        for part, measure in SECTIONS[section](sizes):
            started = time.perf_counter()
            try:
                rows += measure()
            except ImportError as error:
                print(f"skipped: {part}: {error}")
            print(f"{part}: {time.perf_counter() - started:.0f} s", flush=True)
    print(table(("what", "ours", "beside", "ratio"), rows))


def networks(sizes: Sizes) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """Every backbone, with images that lie on the GPU and with images that are read by the CPU."""
    for backbone in sizes.backbones:
        yield backbone, partial(measure_network, backbone, sizes)


def measure_network(backbone: str, sizes: Sizes) -> list[Row]:
    """Images per second of training and of embedding."""
    from fiftyone_deepcluster.features import batch_reader

    bare_training, bare_embedding = bare_speeds(backbone, sizes)
    share, rows = batch_reader._RESIDENT_SHARE, []
    for where, resident in (("images on the GPU", share), ("images read by the CPU", 0.0)):
        batch_reader._RESIDENT_SHARE = resident
        try:
            training, embedding = speeds(backbone, sizes)
        finally:
            batch_reader._RESIDENT_SHARE = share
        rows += [
            compared(f"{backbone} training, {where}", training, bare_training),
            compared(f"{backbone} embedding, {where}", embedding, bare_embedding),
        ]
    return rows


def compared(what: str, ours: float, bare: float) -> Row:
    """A row of images per second."""
    return what, f"{ours:.0f} images/s", f"{bare:.0f} images/s, bare passes", f"{ours / bare:.2f}"


def speeds(backbone: str, sizes: Sizes) -> tuple[float, float]:
    """Images per second of training and of embedding in the second round of DeepCluster."""
    from fiftyone_deepcluster.api.fit import fit

    options = network_options(backbone, sizes)
    side = options.decoded_side
    images = np.random.default_rng(0).integers(0, 256, (sizes.images, side, side, 3), dtype=np.uint8)
    last = fit(images, options).record.rounds[-1]
    return sizes.images / last.seconds["train"], sizes.images / last.seconds["embed"]


def network_options(backbone: str, sizes: Sizes) -> Any:
    """Options of DeepCluster with one epoch per round, and without a PCA."""
    from fiftyone_deepcluster.methods.base import parse_options

    values = {
        "backbone": backbone,
        "image_size": sizes.side,
        "batch_size": sizes.batch,
        "rounds": 2,
        "n_clusters": 2,
        "pseudo_clusters": 2,
        "min_steps": 0,
        "baselines": False,
        "color": "rgb",
        "merge": False,
        "encoder": {"name": "pooled", "pca": 0},
        "device": sizes.device,
        "precision": sizes.precision,
    }
    return parse_options("deepcluster", values)


def bare_speeds(backbone: str, sizes: Sizes) -> tuple[float, float]:
    """Images per second of bare training steps and of bare forward passes."""
    from fiftyone_deepcluster.core.devices import choose_compute
    from fiftyone_deepcluster.images.inspect import image_facts

    blank = np.zeros((sizes.images, sizes.side, sizes.side, 3), np.uint8)
    parts = network_options(backbone, sizes).resolve(image_facts(blank)).build()
    compute = choose_compute(sizes.device, sizes.precision)
    network = parts.network.to(compute.device, memory_format=torch.channels_last)
    network.replace_head(2, seed=0)
    shape = sizes.batch, 3, sizes.side, sizes.side
    images = torch.rand(shape, device=compute.device).to(memory_format=torch.channels_last)
    labels = torch.zeros(sizes.batch, dtype=torch.int64, device=compute.device)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)

    def step() -> None:
        with compute.autocast():
            logits = network(images).logits
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    def embed() -> None:
        with torch.inference_mode(), compute.autocast():
            network.features(images)

    network.train()
    training = sizes.batch * sizes.steps / seconds(step, sizes.steps)
    network.eval()
    return training, sizes.batch * sizes.steps / seconds(embed, sizes.steps)


def kmeans(sizes: Sizes) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """k-means against other implementations on the same vectors, from the same initial centers."""
    generator = torch.Generator(sizes.device).manual_seed(0)
    groups = torch.randn(sizes.clusters // 10, sizes.dim, device=sizes.device, generator=generator)
    member = torch.randint(len(groups), (sizes.vectors,), device=sizes.device, generator=generator)
    vectors = torch.randn(sizes.vectors, sizes.dim, device=sizes.device, generator=generator).add_(
        groups[member]
    )
    start, known = vectors[: sizes.clusters].clone(), {}

    def ours() -> list[Row]:
        from fiftyone_deepcluster.clusterers.kmeans.lloyd import lloyd

        known["ours"] = clustered(lloyd, vectors, start, sizes)
        spent, objective = known["ours"]
        size = f"{sizes.vectors:,} x {sizes.dim}, k = {sizes.clusters:,}"
        return [(f"k-means, {size}", f"{spent:.2f} s", f"mean squared distance {objective:.3f}", "")]

    def beside(name: str, iterate: Callable[..., Any]) -> list[Row]:
        spent, objective = clustered(iterate, vectors, start, sizes)
        own, ours_objective = known["ours"]
        their = f"{spent:.2f} s, {name}; mean squared distance {objective:.3f}"
        return [("k-means", f"{own:.2f} s; {ours_objective:.3f}", their, f"{spent / own:.2f}")]

    yield "k-means", ours
    yield "faiss", partial(beside, "faiss", by_faiss)
    yield "flash-kmeans", partial(beside, "flash-kmeans", by_flash_kmeans)


def clustered(
    iterate: Callable[..., Any], vectors: torch.Tensor, start: torch.Tensor, sizes: Sizes
) -> tuple[float, float]:
    """Seconds, and the mean squared distance to the nearest of the centers found."""
    from fiftyone_deepcluster.clusterers.distances import nearest_two
    from fiftyone_deepcluster.clusterers.kmeans.lloyd import LloydSettings

    settings = LloydSettings(sizes.iterations, 0.0, False, 1)
    iterate(vectors, start.clone(), LloydSettings(1, 0.0, False, 1))  # warms up
    wait()
    started = time.perf_counter()
    centers, _ = iterate(vectors, start.clone(), settings)
    wait()
    return time.perf_counter() - started, float(nearest_two(vectors, centers)[1].mean())


def by_faiss(vectors: torch.Tensor, start: torch.Tensor, settings: Any) -> Any:
    """faiss, on the GPU of the vectors."""
    import faiss

    from fiftyone_deepcluster.clusterers.kmeans.faiss import faiss_lloyd

    if vectors.device.type == "cuda" and not getattr(faiss, "get_num_gpus", int)():
        raise ImportError("this faiss finds no GPU; install faiss-gpu")
    return faiss_lloyd(vectors, start, settings)


def by_flash_kmeans(vectors: torch.Tensor, start: torch.Tensor, settings: Any) -> Any:
    """flash-kmeans, whose first axis is a batch of problems."""
    from flash_kmeans import batch_kmeans_Euclid

    _, centers, *_ = batch_kmeans_Euclid(
        vectors[None], len(start), max_iters=settings.max_iter, tol=-1.0, init_centroids=start[None]
    )
    return centers[0].to(vectors), settings.max_iter


def dac(sizes: Sizes) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """One epoch of DAC from random weights."""

    def epoch() -> list[Row]:
        from fiftyone_deepcluster.api.fit import fit
        from fiftyone_deepcluster.methods.base import parse_options

        images = np.random.default_rng(0).integers(0, 256, (sizes.dac_images, 32, 32, 3), dtype=np.uint8)
        values = {"n_clusters": 10, "rounds": 2, "init": "random", "baselines": False}
        machine = {"device": sizes.device, "precision": sizes.precision}
        last = fit(images, parse_options("dac", {**values, **machine})).record.rounds[-1]
        spent = sum(last.seconds.values())
        what = f"DAC, a round of {len(images):,} images of 32 pixels"
        return [(what, f"{spent:.2f} s", f"{last.images_per_second or 0:.0f} images/s in training", "")]

    yield "DAC", epoch


SECTIONS = {"networks": networks, "kmeans": kmeans, "dac": dac}


def seconds(work: Callable[[], object], times: int) -> float:
    """Wall seconds of ``times`` calls, after one that warms up."""
    work()
    wait()
    started = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return time.perf_counter() - started


def wait() -> None:
    """Until the GPU has done everything."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
