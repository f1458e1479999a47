"""Time of the loop beyond the network's own forward and backward passes.

    python -m benchmarks.loop [--backbone small --size 64 --images 10000] [--backbone resnet18 --size 224 --images 2000]

Ratio: seconds of the bare passes (forward + backward, then forward, over tensors already in memory, same
network, batch and precision, no optimizer, no augmentation) over the seconds of a whole round from the second
on (read, augment, train, embed, cluster, measure). 1 would be a loop that costs nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.report import table
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.core.devices import Compute, choose_compute
from fiftyone_deepcluster.core.progress import Tqdm
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.images.inspect import image_facts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    options = parse_options(
        "deepcluster",
        {
            "backbone": arguments.backbone, "image_size": arguments.size, "batch_size": arguments.batch,
            "rounds": arguments.rounds, "n_clusters": arguments.clusters, "device": arguments.device,
            "precision": arguments.precision, "baselines": False,
            "min_steps": 0,  # one pass a round, as the bare passes
        },
    )  # fmt: skip
    images = blobs(
        arguments.images,
        options.resolve(image_facts(np.zeros((1, arguments.size, arguments.size), np.uint8))),
    )
    result = fit(images, options, observer=Tqdm())
    rounds = [sum(entry.seconds.values()) for entry in result.record.rounds[1:]]
    bare = bare_passes(options.resolve(image_facts(images)), len(images))
    rows = [[name, f"{seconds:.2f}"] for name, seconds in result.record.rounds[-1].seconds.items()]
    print(table(["phase of the last round", "seconds"], rows))
    best, middle = bare / min(rounds), bare / statistics.median(rounds)
    print(
        f"{arguments.backbone}, {len(images)} images of {arguments.size} px, batch {arguments.batch}, "
        f"{result.record.environment['device']}, {result.record.environment['precision']}, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()}, torch {torch.__version__}"
    )
    print(f"bare passes {bare:.2f} s · round {statistics.median(rounds):.2f} s (median of {len(rounds)})")
    print(f"images per second, training: {result.record.rounds[-1].images_per_second:.0f}")
    print(f"ratio bare / round: {middle:.3f} (best round {best:.3f})")


def blobs(n: int, options: Options) -> np.ndarray:
    """uint8 (N, S, S, 1) smooth random pictures, in ten kinds, at the size that the cache holds."""
    rng = np.random.default_rng(0)
    side = options.decoded_side
    kinds = torch.from_numpy(rng.random((10, 1, 5, 5), dtype=np.float32))
    kinds = (
        torch.nn.functional.interpolate(kinds, side, mode="bicubic")
        .clamp(0, 1)
        .mul(255)
        .to(torch.uint8)[:, 0]
    )
    images = kinds.numpy()[rng.integers(0, 10, n)]
    images ^= rng.integers(0, 32, (n, side, 1), dtype=np.uint8)
    return images[..., None]


def bare_passes(options: Options, n: int) -> float:
    """Seconds of forward + backward and forward over ``n`` images; the best of two."""
    compute = choose_compute(options.device, options.precision)
    parts = options.build()
    network = parts.network.to(compute.device, memory_format=torch.channels_last)
    network.replace_head(getattr(options, "pseudo_clusters", 10) or 10, seed=0)
    size = options.image_size or 64
    count = -(-n // parts.batch_size)
    batch = torch.rand(parts.batch_size, options.channels, size, size, device=compute.device)
    labels = torch.zeros(parts.batch_size, dtype=torch.int64, device=compute.device)
    return min(
        _passes(network, compute, batch, labels, n / (count * parts.batch_size) * count) for _ in range(2)
    )


def _passes(
    network: Network, compute: Compute, batch: torch.Tensor, labels: torch.Tensor, steps: float
) -> float:
    whole = max(1, round(steps))
    seconds = 0.0
    for train in (True, False):
        network.train(train)
        for step in range(whole + 1):
            if step == 1:  # the first is for warming up
                _wait(compute)
                started = time.perf_counter()
            with torch.set_grad_enabled(train), compute.autocast():
                logits = network(batch).logits
            if train:
                network.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        _wait(compute)
        seconds += (time.perf_counter() - started) * steps / whole
    return seconds


def _wait(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)


if __name__ == "__main__":
    main()
