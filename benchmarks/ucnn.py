"""UCNN and its three baselines on the same images and the same starting network, as the paper's Tables I and II.

    python -m benchmarks.ucnn                                             # digits; weights from clusters of the pixels
    python -m benchmarks.ucnn --npz usps=usps.npz --source fashion=fashion_mnist.npz      # weights from other classes
    python -m benchmarks.ucnn --memory                                    # 10,000 against 100,000 images

Every run has a process of its own, whose peak is the memory figure. ``--source`` trains the starting network on the
classes of *other* images, as the paper's on ImageNet; without it the first round of the method does, on clusters of
the images' own pixels. Classes of the images that are clustered are used for evaluation only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality import add_image_arguments, datasets, parsed
from benchmarks.report import table
from benchmarks.scale import PeakMemory
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.methods.ucnn import UCNN
from fiftyone_deepcluster.metrics.agreement import agreement, nmi

VARIANTS = ("baseline-1", "baseline-2", "baseline-3", "proposed")
MEASURES = ("nmi", "nmi_max", "acc", "seconds", "peak_gb", "drift")
SOURCE_STEPS = 1500


def main() -> None:
    arguments = parser().parse_args()
    if arguments.child:
        print(json.dumps(child(json.loads(arguments.child))))
        return
    if arguments.memory:
        memory(arguments)
        return
    rows = []
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    with tempfile.TemporaryDirectory() as name:
        for data, (images, classes) in datasets(arguments).items():
            place = Path(name) / data
            place.mkdir()
            np.savez(place / "images.npz", x=images, y=classes)
            runs = [run for seed in seeds for run in compare(place, seed, arguments)]
            rows += [summary(data, variant, runs) for variant in ("start", *VARIANTS)]
    print(f"seeds {list(seeds)}, {arguments.rounds} epochs, first centers: {arguments.start}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print(table(["images", "variant", "NMI", "MI / max H", "ACC", "seconds", "peak GB", "drift"], rows))


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_image_arguments(found)
    found.add_argument("--seeds", type=int, default=3)
    found.add_argument("--first-seed", type=int, default=51)
    found.add_argument("--rounds", type=int, default=10, help="epochs; the paper's 10")
    found.add_argument("--start", default="kmeans", help="first centers: kmeans, or sample as the paper")
    found.add_argument(
        "--source",
        metavar="NAME=PATH",
        help="train the starting network on these classes; digits needs no path",
    )
    found.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    found.add_argument("--memory", action="store_true", help="only peak memory by number of images")
    found.add_argument("--few", type=int, default=10_000)
    found.add_argument("--many", type=int, default=100_000)
    found.add_argument("--features", type=int, nargs="+", default=[10, 1000], help="of --memory")
    found.add_argument("--side", type=int, default=16, help="pixels of the images of --memory")
    found.add_argument(
        "--kept", choices=["no", "yes", "both"], default="both", help="vectors of all, for --memory"
    )
    found.add_argument("--paper-widths", action="store_true", help="the paper's layers for --memory; slow")
    found.add_argument("--child", help=argparse.SUPPRESS)
    return found


def compare(place: Path, seed: int, arguments: argparse.Namespace) -> list[dict]:
    """Results of the starting network, then of every variant."""
    weights, job = place / f"start-{seed}.pt", {"place": str(place), "seed": seed}
    values = parsed(dict(item.split("=", 1) for item in arguments.option))
    found = [
        in_process(
            {**job, "do": "start", "weights": str(weights), "source": arguments.source, "options": values}
        )
    ]
    options = {
        "rounds": arguments.rounds, "init": arguments.start, "weights": str(weights), "pixel_epochs": 0,
        "learning_rate": 0.02, "head_learning_rate": 0.02, "backbone": "ucnn", "input_norm": "zscore", **values,
    }  # fmt: skip
    found += [in_process({**job, "do": "fit", "options": {**options, "variant": v}}) for v in VARIANTS]
    for run in found:
        print(json.dumps(run), file=sys.stderr, flush=True)
    return found


def in_process(job: dict) -> dict:
    """Run one job in a new process; adds its peak memory."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.ucnn", "--child", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(job: dict) -> dict:
    """Run the job of ``in_process``; seconds do not include imports."""
    started = time.perf_counter()
    found = {"start": start, "fit": one, "grow": grow}[job["do"]](job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {**found, "seconds": time.perf_counter() - started, "peak_gb": peak}


def start(job: dict) -> dict:
    """Save the weights that all variants start from; k-means on their features is Baseline-III."""
    with np.load(Path(job["place"]) / "images.npz") as file:
        images, classes = file["x"], file["y"]
    k = len(np.unique(classes))
    if job["source"]:
        train_on_source(job["source"], images.shape[1], job["seed"], job["weights"])
        return {"variant": "start", "nmi": np.nan, "nmi_max": np.nan, "acc": np.nan, "drift": np.nan}
    with tempfile.TemporaryDirectory() as name:
        # Baseline-III stops after the round on the pixels' clusters.
        options = {**job["options"], "n_clusters": k, "seed": job["seed"], "rounds": 1, "variant": "baseline-3",
                   "baselines": False}  # fmt: skip
        result = fit(images, parse_options("ucnn", options), run_dir=name)
        network = torch.load(Path(name) / "model.pt", weights_only=True)["network"]
    backbone = {
        key.removeprefix("backbone."): value for key, value in network.items() if key.startswith("backbone.")
    }
    torch.save(backbone, job["weights"])
    return {"variant": "start", **figures(result, classes)}


def train_on_source(source: str, side: int, seed: int, path: str) -> None:
    """Train the method's network on the classes of other images of the same size, and save its weights."""
    from fiftyone_deepcluster.backbones.base import BACKBONES
    from fiftyone_deepcluster.backbones.input_norms import make_input_norm
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.methods.trained import augmentation

    arguments = argparse.Namespace(npz=[] if source == "digits" else [source], digits=False, images=0)
    ((images, classes),) = datasets(arguments).values()
    side = max(16, -(-side // 4) * 4)
    torch.manual_seed(seed)
    backbone = BACKBONES.parse("ucnn").build(1, side, None)
    network = Network(make_input_norm("zscore", 1), backbone, relu_before_head=True)
    network.replace_head(int(classes.max()) + 1, seed)
    pixels, targets = torch.from_numpy(images)[:, None], torch.from_numpy(classes)
    pixels = torch.nn.functional.interpolate(pixels.float(), size=(side, side), mode="area").round().byte()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    change, generator = augmentation("affine"), torch.Generator().manual_seed(seed)
    for _ in range(SOURCE_STEPS):
        rows = torch.randint(len(pixels), (50,), generator=generator)
        logits = network(change.apply(pixels[rows], side, generator)).logits
        loss = torch.nn.functional.cross_entropy(logits, targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(backbone.state_dict(), path)


def one(job: dict) -> dict:
    """One variant."""
    with np.load(Path(job["place"]) / "images.npz") as file:
        images, classes = file["x"], file["y"]
    fixed = {"n_clusters": len(np.unique(classes)), "seed": job["seed"], "baselines": False}
    result = fit(images, parse_options("ucnn", {**fixed, **job["options"]}))
    return {"variant": job["options"]["variant"], **figures(result, classes)}


def figures(result, classes: np.ndarray) -> dict:
    """NMI with the mean and, as in the paper, with the larger entropy; ACC; how far a step moves features."""
    last = result.record.rounds[-1]
    found = agreement(result.labels, classes)
    return {"nmi": found.nmi, "nmi_max": nmi(result.labels, classes, "max"), "acc": found.acc,
            "drift": last.scores.get("drift", np.nan), "stop": result.record.stop_reason.value,
            "rounds": len(result.record.rounds)}  # fmt: skip


def summary(data: str, variant: str, runs: list[dict]) -> list[str]:
    """Mean and deviation over the seeds."""
    mine = [run for run in runs if run["variant"] == variant]
    cells = []
    for measure in MEASURES:
        values = [run[measure] for run in mine]
        digits = 0 if measure == "seconds" else 3 if measure != "peak_gb" else 2
        spread = "" if measure in ("seconds", "peak_gb", "drift") else f" ± {np.std(values):.3f}"
        cells.append("" if np.isnan(values).any() else f"{np.mean(values):.{digits}f}{spread}")
    return [data, variant, *cells]


def memory(arguments: argparse.Namespace) -> None:
    """Peak memory of an epoch for two numbers of images and several feature sizes, with vectors of all or not."""
    rows = []
    kept = {"no": [False], "yes": [True], "both": [False, True]}[arguments.kept]
    for keep, dim in [(keep, dim) for keep in kept for dim in arguments.features]:
        counts = (arguments.few, arguments.many)
        job = {"do": "grow", "dim": dim, "keep": keep, "side": arguments.side, "wide": arguments.paper_widths}
        found = [in_process({**job, "n": n}) for n in counts]
        growth = (found[1]["private_gb"] - found[0]["private_gb"]) * 2**30
        each = growth / (arguments.many - arguments.few)
        rows.append(
            [
                "kept" if keep else "as in the paper",
                dim,
                *(f"{run['private_gb']:.3f}" for run in found),
                f"{each:.0f}",
                f"{found[1]['seconds']:.0f}",
            ]
        )
    print(
        table(
            [
                "vectors",
                "features",
                f"GB at {arguments.few:,}",
                f"GB at {arguments.many:,}",
                "bytes an image",
                "seconds",
            ],
            rows,
        )
    )


def grow(job: dict) -> dict:
    """An epoch over noisy stripes in a file; its largest memory that is no page of a file."""
    n, side, rng = job["n"], job["side"], np.random.default_rng(0)
    base = rng.integers(0, 255, (10, side, 1), dtype=np.uint8)
    width, adapted = (1, 1) if job["wide"] else (0.125, 1 / 128)
    maps = job["dim"] if job["wide"] else 10
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "images.bin"
        with path.open("wb") as file:
            for at in range(0, n, 1000):
                kinds = np.arange(at, min(n, at + 1000)) % 10
                noise = rng.integers(0, 32, (len(kinds), side, side), dtype=np.uint8)
                file.write((base[kinds] ^ noise).tobytes())
        images = np.memmap(path, dtype=np.uint8, mode="r", shape=(n, side, side))
        backbone = {"name": "ucnn", "maps": maps, "dim": job["dim"], "width": width, "adapted": adapted}
        options = UCNN(
            n_clusters=10, rounds=1, pixel_epochs=0, init="sample", batch_size=50 if job["wide"] else 500,
            backbone=backbone, baselines=False, augmentation="none", keep_embeddings=job["keep"],
        )  # fmt: skip
        with PeakMemory() as found:
            fit(images, options)
    return {"n": n, "private_gb": found.private / 2**30}


if __name__ == "__main__":
    main()
