"""What a run learned: ``draw_filters`` of its units."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.analysis.unit_images import Ascent
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.results.open_run import images_of, open_run
from fiftyone_deepcluster.dataset.results.probes import keep_layers, layers_of_run
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.unit_images import TopImages, UnitImages
    from fiftyone_deepcluster.api.trained_run import TrainedRun
    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource

_FILTERS = "filters"
N_UNITS = 16
"""Units that are drawn where none are named."""


@dataclass(frozen=True)
class Filters:
    """Units of a layer, drawn.

    Attributes:
        layer: name.
        units: (U) their numbers.
        images: (U, H, W, C) float32 in 0..1, made by gradient ascent to excite the unit.
        activations: (U,) float32, of those images.
        silent: (U,) bool, whether the unit did not answer to noise, so that its activation is from before the
            activation function.
        top_ids: for each unit the images of the run that excite it most, the first most: ids of samples, or of
            objects.
        top_activations: (U, n) float32, theirs.
        montage: PNG with all units.
        tiles: a PNG a unit: the image made for it, and its top images.
        files: a PNG a unit: only the image made for it, at its own size, from black to white.
    """

    layer: str
    units: NDArray[np.int64]
    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    silent: NDArray[np.bool_]
    top_ids: list[list[str]]
    top_activations: NDArray[np.float32]
    montage: Path
    tiles: list[Path]
    files: list[Path]


@dataclass(frozen=True)
class DrawnUnit:
    """A unit that was drawn, as it is kept for the panel.

    Attributes:
        unit: its number.
        tile: PNG.
        top_samples: ids of the samples with the images that excite it most.
    """

    unit: int
    tile: str
    top_samples: tuple[str, ...]


def draw_filters(
    samples: fo.core.collections.SampleCollection,
    key: str,
    layer: str | None = None,
    out_dir: str | Path | None = None,
    *,
    units: Sequence[int] | None = None,
    ascent: Ascent | dict[str, Any] | None = None,
    observer: Observer | None = None,
) -> Filters:
    """Draw what units of a layer look for: an image made to excite the unit, and the run's images that do so most.

    The pictures are kept with the run, for the Clusters panel, and written to ``out_dir`` where one is given.

    Args:
        samples: the dataset, or any view of it.
        key: of the run.
        layer: its name, see ``list_layers``; the last convolution by default.
        out_dir: folder for the PNG files; made where it is missing.
        units: their numbers; 16 evenly spread ones by default.
        ascent: steps, rate, decay, blur of the gradient ascent.
        observer: told of progress; may cancel.

    Raises:
        RunNotFoundError: no such run.
        RunError: its network is not here.
        InputError: no such layer or unit; those there are follow. Or ``out_dir`` can be no folder.
    """
    from fiftyone_deepcluster.analysis.unit_images import check_units, maximize, spread_units, top_images

    run = load_run(samples, key)
    source = images_of(run)
    if layer is not None:
        arguments.one_name("layer", layer, "conv1")
    folder = None if out_dir is None else _folder(out_dir)
    climb = ascent if isinstance(ascent, Ascent) else _ascent(ascent or {})
    with open_run(run, source, observer) as trained_run:
        known = layers_of_run(trained_run)
        keep_layers(run, known)
        chosen = _choose(known, layer)
        wanted = spread_units(chosen, N_UNITS) if units is None else check_units(chosen, units)
        made = maximize(trained_run.trained, chosen, wanted, climb)
        top = top_images(trained_run.trained, chosen, wanted)
        return _written(run, source, trained_run, (chosen, made, top), folder)


def stored_filters(run: Run) -> tuple[str, list[DrawnUnit]] | None:
    """The layer that was drawn last, and its units."""
    findings = Findings(run)
    found = findings.load(_FILTERS)
    if found is None:
        return None
    units = [
        DrawnUnit(entry["unit"], str(findings.path(_FILTERS, entry["tile"])), tuple(entry["top_samples"]))
        for entry in found["units"]
    ]
    return found["layer"], units


def _choose(layers: Sequence[Layer], name: str | None) -> Layer:
    from fiftyone_deepcluster.backbones.layers import choose_layers

    if name is not None:
        return choose_layers(layers, [name])[0]
    return next((layer for layer in reversed(layers) if len(layer.shape) == 3), layers[-1])


def _written(
    run: Run,
    source: SampleSource,
    trained_run: TrainedRun,
    drawn: tuple[Layer, UnitImages, TopImages],
    out_dir: Path | None,
) -> Filters:
    """The PNG files, beside the run and where they were asked for."""
    layer, made, top = drawn
    findings = Findings(run)
    kept = _write(findings.folder(_FILTERS), trained_run, drawn)
    images = trained_run.store.kept[top.rows]
    units = [
        {"unit": unit, "tile": tile.name, "top_samples": [source.sample_ids[row] for row in rows]}
        for unit, tile, rows in zip(made.units.tolist(), kept[1], images, strict=True)
    ]
    findings.save(_FILTERS, {"layer": layer.name, "units": units})
    montage, tiles, files = kept if out_dir is None else _write(out_dir, trained_run, drawn)
    return Filters(
        layer=layer.name,
        units=made.units,
        images=made.images,
        activations=made.activations,
        silent=made.silent,
        top_ids=[[source.ids[row] for row in rows] for rows in images],
        top_activations=top.activations,
        montage=montage,
        tiles=tiles,
        files=files,
    )


def _write(
    folder: Path, trained_run: TrainedRun, drawn: tuple[Layer, UnitImages, TopImages]
) -> tuple[Path, list[Path], list[Path]]:
    """The montage, a tile a unit, and the bare image a unit."""
    from fiftyone_deepcluster.analysis.montage import picture, sheet, stretched, tile

    layer, made, top = drawn
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{layer.name}-unit-{unit:03d}" for unit in made.units.tolist()]
    tiles = [tile(made.images[at], _pixels(trained_run, top.rows[at])) for at in range(len(names))]
    montage = folder / f"{layer.name}.png"
    sheet(tiles).save(montage)
    tile_files, files = (
        [folder / f"{name}-top.png" for name in names],
        [folder / f"{name}.png" for name in names],
    )
    for at in range(len(names)):
        tiles[at].save(tile_files[at])
        picture(stretched(made.images[at])).save(files[at])
    return montage, tile_files, files


def _pixels(trained_run: TrainedRun, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, size, size, C) uint8, the images as the network sees them."""
    import torch

    from fiftyone_deepcluster.images.augment import plain

    pixels = torch.from_numpy(trained_run.store.read(rows)).permute(0, 3, 1, 2)
    seen = plain(pixels, trained_run.trained.size)
    return (seen.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _folder(out_dir: object) -> Path:
    """The folder to write to, which need not be there yet: said before any work is done."""
    if not isinstance(out_dir, str | Path):
        raise InputError(f"out_dir={arguments.short(out_dir)} is no path; give that of a folder")
    folder = Path(out_dir)
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not there.is_dir():
        raise InputError(
            f"out_dir={str(folder)!r}: {there} is no folder but a file; give the path of a folder"
        )
    if not os.access(there, os.W_OK):
        raise InputError(f"out_dir={str(folder)!r}: {there} cannot be written to; give another folder")
    return folder


def _ascent(values: dict[str, Any]) -> Ascent:
    from pydantic import ValidationError

    from fiftyone_deepcluster.core.option_errors import explain

    if not isinstance(values, dict):
        raise InputError(
            f"ascent={arguments.short(values)} is no dict of options; give one such as {{'steps': 300}}"
        )
    try:
        return Ascent.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, "ascent", Ascent)) from error
