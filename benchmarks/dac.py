"""DAC and DAC*: the tables and figures of the paper (Chang et al. 2017), on images given here.

    python -m benchmarks.dac table --npz usps=usps.npz --zip cifar10=cifar10.zip   # Table 2
    python -m benchmarks.dac features     # Table 3: label features clustered by other methods
    python -m benchmarks.dac histogram    # figure 4: label features over rounds
    python -m benchmarks.dac imbalance    # figure 5: a class is kept with probability r
    python -m benchmarks.dac clusters     # figure 6: the first c classes
    python -m benchmarks.dac samples      # figure 7: the first n images
    python -m benchmarks.dac cost         # share of a step that the pairs take

Without --npz or --zip scikit-learn's digits are taken. A zip holds CLASS/name.jpg. Classes are used
for evaluation only. AE + k-means and DEC need ClustPy (``pip install clustpy``).
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import dac_peers as peers
from benchmarks.quality import datasets, parsed
from benchmarks.report import append_runs, table
from fiftyone_deepcluster.api.assembly import assemble, open_store
from fiftyone_deepcluster.api.fit import FitResult, fit
from fiftyone_deepcluster.core.progress import Silent, Tqdm
from fiftyone_deepcluster.core.types import Outputs
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.methods.dac import DAC
from fiftyone_deepcluster.pseudo_labels.pairs import INTERVALS, select

MEASURES = ("acc", "nmi", "ari")

PAPER: dict[str, dict[str, tuple[float, float, float]]] = {
    "MNIST": {
        "k-means": (0.5723, 0.4997, 0.3652), "SC": (0.6958, 0.6626, 0.5214), "AC": (0.6953, 0.6094, 0.4807),
        "NMF": (0.5447, 0.6082, 0.4298), "AE + k-means": (0.8123, 0.7257, 0.6139), "DEC": (0.8430, 0.7716, 0.7414),
        "DAC*": (0.9660, 0.9246, 0.9406), "DAC": (0.9775, 0.9351, 0.9486),
    },
    "CIFAR-10": {
        "k-means": (0.2289, 0.0871, 0.0487), "SC": (0.2467, 0.1028, 0.0853), "AC": (0.2275, 0.1046, 0.0646),
        "NMF": (0.1895, 0.0814, 0.0338), "AE + k-means": (0.3135, 0.2393, 0.1689), "DEC": (0.3010, 0.2568, 0.1607),
        "DAC*": (0.4982, 0.3793, 0.2802), "DAC": (0.5218, 0.3959, 0.3059),
    },
}  # fmt: skip
"""Table 2: ACC, NMI, ARI of the paper; NMI there is the geometric one."""

PAPER_FEATURES: dict[str, dict[str, tuple[float, float, float]]] = {
    "MNIST": {
        "k-means": (0.9761, 0.9358, 0.9481), "SC": (0.9348, 0.8830, 0.8532), "AC": (0.9753, 0.9347, 0.9465),
        "NMF": (0.9347, 0.9077, 0.9153), "largest": (0.9775, 0.9351, 0.9486),
    },
    "CIFAR-10": {
        "k-means": (0.5106, 0.3943, 0.2993), "SC": (0.5193, 0.3935, 0.2991), "AC": (0.5030, 0.3881, 0.2601),
        "NMF": (0.4993, 0.3761, 0.2615), "largest": (0.5218, 0.3959, 0.3059),
    },
}  # fmt: skip
"""Table 3 likewise."""


@dataclass(frozen=True)
class Images:
    """A set of images: (N, H, W[, C]) uint8 and classes (N,)."""

    name: str
    pixels: np.ndarray
    classes: np.ndarray

    @property
    def paper(self) -> str:
        """The paper's set to compare with."""
        return "MNIST" if self.pixels.ndim == 3 or self.pixels.shape[-1] == 1 else "CIFAR-10"

    @property
    def vectors(self) -> np.ndarray:
        """(N, D) float32 pixels in 0..1."""
        return self.pixels.reshape(len(self.pixels), -1).astype(np.float32) / 255

    def of(self, rows: np.ndarray, what: str) -> Images:
        """Some of the images."""
        return Images(f"{self.name}, {what}", self.pixels[rows], self.classes[rows])


@dataclass(frozen=True)
class Settings:
    """Seeds, options and methods of a part of the benchmark."""

    seeds: list[int]
    options: dict[str, object]
    methods: list[str]
    out: Path | None


def main() -> None:
    arguments = parse()
    sets = [Images(name, *found) for name, found in datasets(arguments).items()]
    sets += [from_zip(*item.split("=", 1), arguments.images) for item in arguments.zip]
    if arguments.zip and not arguments.npz and not arguments.digits:
        sets = sets[1:]  # digits are for those who give nothing
    values = parsed(dict(item.split("=", 1) for item in arguments.option))
    seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    settings = Settings(seeds, values, arguments.methods.split(","), arguments.out)
    print(
        f"{arguments.part}: seeds {seeds}, options {values or 'default'}, {torch.get_num_threads()} threads"
    )
    header, rows = PARTS[arguments.part](sets, settings)
    print(table(header, rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--digits", action="store_true", help="digits too, where --npz or --zip is given")
    parser.add_argument("--images", type=int, default=0, help="maximum number of images, drawn once; 0: all")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of DAC")
    parser.add_argument("--methods", default=",".join([*peers.PIXELS, "UMAP + GMM", "DAC*", "DAC"]))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--out", type=Path, help="append every single run here, as JSON lines")
    return parser.parse_args()


def from_zip(name: str, path: str, most: int) -> Images:
    """Images ``CLASS/name.jpg`` of a zip; above ``most`` a fixed random sample."""
    with zipfile.ZipFile(path) as file:
        names = sorted(item for item in file.namelist() if item.lower().endswith((".jpg", ".png")))
        if most and most < len(names):
            names = [names[row] for row in np.sort(np.random.default_rng(0).permutation(len(names))[:most])]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(file.read(item)))) for item in names])
    _, classes = np.unique([item.split("/")[0] for item in names], return_inverse=True)
    return Images(name, pixels, classes.astype(np.int64))


def run(images: Images, seed: int, settings: Settings, **more: object) -> tuple[FitResult, dict[str, float]]:
    """One run of DAC: its result and figures."""
    k = len(np.unique(images.classes))
    options = {"n_clusters": k, "seed": seed, "baselines": False, **settings.options, **more}
    started = time.perf_counter()
    result = fit(images.pixels, DAC.model_validate(options), truth=images.classes, observer=Tqdm())
    last = result.record.rounds[-1].truth.model_dump()
    return result, {**last, "seconds": time.perf_counter() - started, "stop": result.record.stop_reason.value}


def measured(images: Images, method: str, settings: Settings) -> list[dict[str, float]]:
    """ACC, NMI, ARI and seconds of every seed; also appended to ``settings.out``, one line each."""
    found = []
    for seed in settings.seeds:
        if method in ("DAC", "DAC*"):
            found.append(run(images, seed, settings, star=method == "DAC*")[1])
        elif method == "UMAP + GMM":
            found.append(peers.umap_gmm(images.vectors, images.classes, seed))
        else:
            found.append(peers.figures(peers.PIXELS[method], images.vectors, images.classes, seed))
        line = {"data": images.name, "n": len(images.pixels), "method": method, "seed": seed, **found[-1]}
        print(json.dumps(line), file=sys.stderr, flush=True)
        append_runs(settings.out, [line])
    return found


def cells(runs: list[dict[str, float]]) -> list[str]:
    """Mean and deviation of every measure."""
    return [f"{np.mean([r[m] for r in runs]):.3f} ± {np.std([r[m] for r in runs]):.3f}" for m in MEASURES]


def known(table_of: dict[str, dict[str, tuple[float, float, float]]], paper: str, name: str) -> str:
    """The paper's three figures, or nothing."""
    return " / ".join(f"{figure:.3f}" for figure in table_of[paper].get(name, ()))


Rows = tuple[list[str], list[list[str]]]


def table_2(sets: list[Images], settings: Settings) -> Rows:
    rows = []
    for images in sets:
        for method in settings.methods:
            runs = measured(images, method, settings)
            seconds = f"{np.mean([r['seconds'] for r in runs]):.0f}"
            stops = ", ".join(sorted({str(r.get("stop", "")) for r in runs}))
            paper = known(PAPER, images.paper, method)
            rows.append([images.name, method, *cells(runs), seconds, stops, paper])
    return ["images", "method", "ACC", "NMI", "ARI", "seconds", "stopped", "paper (MNIST or CIFAR-10)"], rows


def features(sets: list[Images], settings: Settings) -> Rows:
    rows = []
    for images in sets:
        found: dict[str, list[dict[str, float]]] = {}
        for seed in settings.seeds:
            result, last = run(images, seed, settings)
            found.setdefault("largest", []).append(last)
            for name in peers.ON_FEATURES:
                figures = peers.figures(peers.PIXELS[name], result.embeddings, images.classes, seed)
                found.setdefault(name, []).append(figures)
        rows += [
            [images.name, name, *cells(runs), known(PAPER_FEATURES, images.paper, name)]
            for name, runs in found.items()
        ]
    return ["images", "label features by", "ACC", "NMI", "ARI", "paper (MNIST or CIFAR-10)"], rows


def histogram(sets: list[Images], settings: Settings) -> Rows:
    """Shares of the label features in the paper's intervals [0, .1), [.1, .5), [.5, .9) and [.9, 1]."""
    rows = []
    for images in sets:
        result, _ = run(images, settings.seeds[0], settings)
        rounds = result.record.rounds
        for index in sorted({0, len(rounds) // 4, len(rounds) // 2, 3 * len(rounds) // 4, len(rounds) - 1}):
            scores = rounds[index].scores
            shares = [f"{scores[f'features_from_{low:g}']:.3f}" for low in INTERVALS]
            bounds = [f"{scores[name]:.3f}" for name in ("upper", "lower", "pairs_selected")]
            rows.append([images.name, str(index + 1), *shares, *bounds, f"{rounds[index].truth.acc:.3f}"])
    return [
        "images",
        "round",
        "[0, .1)",
        "[.1, .5)",
        "[.5, .9)",
        "[.9, 1]",
        "u",
        "l",
        "pairs selected",
        "ACC",
    ], rows


def imbalance(sets: list[Images], settings: Settings) -> Rows:
    def parts(images: Images) -> list[tuple[str, np.ndarray]]:
        k = len(np.unique(images.classes))
        draws = np.random.default_rng(0).random(len(images.classes))
        found = []
        for r in (0.1, 0.3, 0.5, 0.7, 0.9):
            kept = r + (1 - r) * images.classes / (k - 1)
            found.append((f"r = {r}", np.flatnonzero(draws < kept)))
        return found

    return curve(sets, settings, parts)


def clusters(sets: list[Images], settings: Settings) -> Rows:
    def parts(images: Images) -> list[tuple[str, np.ndarray]]:
        k = len(np.unique(images.classes))
        counts = sorted({max(2, round(k * share)) for share in (0.2, 0.4, 0.6, 0.8, 1.0)})
        return [(f"{c} classes", np.flatnonzero(images.classes < c)) for c in counts]

    return curve(sets, settings, parts)


def samples(sets: list[Images], settings: Settings) -> Rows:
    def parts(images: Images) -> list[tuple[str, np.ndarray]]:
        drawn = np.random.default_rng(0).permutation(len(images.classes))
        counts = [round(len(drawn) * sixth / 6) for sixth in range(1, 7)]
        return [(f"{n} images", np.sort(drawn[:n])) for n in counts]

    return curve(sets, settings, parts)


def curve(
    sets: list[Images], settings: Settings, parts: Callable[[Images], list[tuple[str, np.ndarray]]]
) -> Rows:
    """ACC of every method on every part."""
    rows = []
    for images in sets:
        for what, chosen in parts(images):
            part = images.of(chosen, what)
            runs = {method: measured(part, method, settings) for method in settings.methods}
            rows.append([part.name, str(len(chosen)), *(cells(found)[0] for found in runs.values())])
    return ["images", "n", *settings.methods], rows


def cost(sets: list[Images], settings: Settings) -> Rows:
    """Time of selection and loss of the pairs, compared with a whole step; medians of 5."""
    rows = []
    for images in sets:
        options = DAC.model_validate({"n_clusters": 10, **settings.options}).resolve(
            image_facts(images.pixels)
        )
        with open_store(images.pixels, options, Silent()) as store:
            corpus, parts = assemble(options, store, Silent(), None)
            corpus.network.train()
            size = min(parts.batch_size, len(corpus))
            batch = next(corpus.training_batches(np.arange(size), parts.training_spec.augment, 0))
            steps, pairs = zip(*(one_step(corpus, parts, batch) for _ in range(6)), strict=True)
            whole, part = np.median(steps[1:]), np.median(pairs[1:])
        name = f"{images.name}, {options.image_size} pixels"
        rows.append([name, str(size), f"{whole * 1e3:.1f}", f"{part * 1e3:.1f}", f"{part / whole:.1%}"])
    return ["images", "batch", "step in ms", "pairs in ms", "share"], rows


def one_step(corpus, parts, batch) -> tuple[float, float]:
    """Seconds of a whole step, and of its pairs: selection, loss and the gradient of the loss."""
    started = now(corpus)
    with corpus.compute.autocast():
        outputs = corpus.network(batch.images)
    begun = now(corpus)
    detached = outputs.features.detach().requires_grad_()
    targets = select(detached.detach(), 0.95, 0.455)
    parts.training_spec.objective.losses(Outputs(detached, outputs.logits), targets).mean().backward()
    pairs = now(corpus) - begun
    outputs.features.backward(detached.grad)
    return now(corpus) - started, pairs


def now(corpus) -> float:
    """Processor seconds, which other jobs do not affect, or wall seconds with a GPU."""
    if corpus.compute.device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


PARTS: dict[str, Callable[[list[Images], Settings], Rows]] = {
    "table": table_2,
    "features": features,
    "histogram": histogram,
    "imbalance": imbalance,
    "clusters": clusters,
    "samples": samples,
    "cost": cost,
}

if __name__ == "__main__":
    main()
