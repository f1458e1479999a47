"""The figures of the article on DeepCluster, one command each, on any images.

    python -m benchmarks.article train --run runs/dc                       # scikit-learn's digits, default options
    python -m benchmarks.article train --run runs/dc --npz cifar=cifar.npz --option preset=paper --option n_clusters=100
    python -m benchmarks.article curves --run runs/dc                      # NMI with the classes and the last epoch
    python -m benchmarks.article neighbors --run runs/dc --out near.png    # a query, its 3 nearest before, and after
    python -m benchmarks.article filters --run runs/dc --layer conv1 --out conv1.png   # with their 9 top images
    python -m benchmarks.article probe --run runs/dc                       # linear classifiers, all images of the set

The study of k is ``benchmarks.k_study``. Give every command the same images as ``train``. Classes are used for
evaluation only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.quality import datasets, parsed
from benchmarks.report import table
from fiftyone_deepcluster.analysis.linear_probe import ProbeRequest, probe_networks
from fiftyone_deepcluster.analysis.montage import picture, sheet, tile
from fiftyone_deepcluster.analysis.retrieval import nearest_images
from fiftyone_deepcluster.analysis.unit_images import Ascent, maximize, spread_units, top_images
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.backbones.layers import choose_layers, layers_of
from fiftyone_deepcluster.core.progress import Tqdm
from fiftyone_deepcluster.images.augment import plain
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    from fiftyone_deepcluster.api.trained_run import TrainedRun

NEIGHBORS = 3
CURVES = "curves.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=["train", "curves", "neighbors", "filters", "probe"])
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument(
        "--images", type=int, default=0, help="maximum number of images, the first ones; 0: all"
    )
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--layer", default="conv1")
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("figure.png"))
    arguments = parser.parse_args()
    arguments.digits = False
    images, classes = next(iter(datasets(arguments).values()))
    if arguments.figure == "train":
        train(images, classes, arguments)
    elif arguments.figure == "curves":
        curves(arguments.run)
    else:
        with reopen(arguments.run, images) as run:
            {"neighbors": neighbors, "filters": filters, "probe": probe}[arguments.figure](
                run, classes, arguments
            )


def train(images: np.ndarray, classes: np.ndarray, arguments: argparse.Namespace) -> None:
    """Train, keep the network, and the curves of NMI beside it."""
    values = parsed(dict(item.split("=", 1) for item in arguments.option))
    options = parse_options("deepcluster", {"baselines": False, **values})
    observer = Tqdm(options.rounds)
    result = fit(images, options, truth=classes.tolist(), observer=observer, run_dir=arguments.run)
    rows = [
        {
            "epoch": entry.index + 1,
            "classes": entry.truth.nmi if entry.truth else None,
            "last epoch": entry.change.nmi if entry.change else None,
            "clusters": entry.clusters_in_use,
        }
        for entry in result.record.rounds
    ]
    (arguments.run / CURVES).write_text(json.dumps(rows))
    print("\n".join(result.record.notes))
    curves(arguments.run)


def curves(run: Path) -> None:
    """Figures (a) and (b): NMI with the classes, and with the clusters of the last epoch."""
    rows = json.loads((run / CURVES).read_text())
    print(table(list(rows[0]), [list(row.values()) for row in rows]))


def neighbors(run: TrainedRun, classes: np.ndarray, arguments: argparse.Namespace) -> None:
    """A row for each query: the image, its nearest by the network before training, and after it."""
    queries = np.linspace(0, len(run.store.kept) - 1, arguments.queries).astype(np.int64)
    before, after = (
        nearest_images(torch.nn.functional.normalize(corpus.features()), queries, NEIGHBORS)[0]
        for corpus in (run.initial, run.trained)
    )
    from PIL import Image

    side, gap = 96, 4
    found = Image.new(
        "RGB", ((2 * NEIGHBORS + 1) * (side + gap) + 4 * gap, len(queries) * (side + gap)), "white"
    )
    for at, query in enumerate(queries):
        for place, row in enumerate([query, *before[at], *after[at]]):
            shift = gap * ((place > 0) + (place > NEIGHBORS)) * 2
            image = picture(pixels(run, np.array([row]))[0], side)
            found.paste(image, (place * (side + gap) + shift, at * (side + gap)))
    found.save(arguments.out)
    known = classes[run.store.kept]
    for name, rows in (("before", before), ("after", after)):
        print(
            f"{name}: {(known[rows] == known[queries][:, None]).mean():.3f} of the neighbors share the class"
        )


def filters(run: TrainedRun, classes: np.ndarray, arguments: argparse.Namespace) -> None:
    """Images that maximize units of a layer, each beside the nine images of the set with the highest activations."""
    blank = torch.zeros(
        1, run.store.shape[3], run.trained.size, run.trained.size, device=run.trained.compute.device
    )
    (layer,) = choose_layers(layers_of(run.trained.network, blank), [arguments.layer])
    units = spread_units(layer, arguments.units)
    made, top = maximize(run.trained, layer, units, Ascent()), top_images(run.trained, layer, units)
    sheet([tile(made.images[at], pixels(run, top.rows[at])) for at in range(len(units))]).save(arguments.out)


def probe(run: TrainedRun, classes: np.ndarray, arguments: argparse.Namespace) -> None:
    """Accuracy of linear classifiers on every layer, of all images of the set, after and before training."""
    found = probe_networks(run.trained, run.initial, classes[run.store.kept], ProbeRequest(max_images=None))
    print(found.to_dataframe().to_string(index=False))


def pixels(run: TrainedRun, rows: np.ndarray) -> np.ndarray:
    """(n, size, size, C) uint8, the images at the size of the network's input."""
    found = plain(torch.from_numpy(run.store.read(rows)).permute(0, 3, 1, 2), run.trained.size)
    return (found * 255).round().byte().permute(0, 2, 3, 1).numpy()


if __name__ == "__main__":
    main()
