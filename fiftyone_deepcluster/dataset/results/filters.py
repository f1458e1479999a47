"""Visualization of the units of a trained network: ``draw_filters``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.analysis.unit_images import Ascent
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import disk_errors, folder_problem
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.dataset.results.open_run import images_of, open_run, store
from fiftyone_deepcluster.dataset.results.probes import layers_of_run, save_layers, units_by_layer
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.errors import InputError, RunError

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.unit_images import TopImages, UnitImages
    from fiftyone_deepcluster.api.trained_run import TrainedRun
    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource

    _Drawn = tuple[Layer, UnitImages, TopImages]
    _Files = tuple[Path, list[Path], list[Path]]

logger = logging.getLogger(__name__)

_FILTERS = "filters"
N_UNITS = 16
"""Number of units that are drawn by default."""


@dataclass(frozen=True)
class Filters:
    """Visualized units of a layer.

    Attributes:
        layer: name of the layer.
        units: (U,) unit indices.
        images: (U, H, W, C) float32 in 0..1, images that maximize the activation of each unit (gradient ascent).
        activations: (U,) float32, activations of those images.
        silent: (U,) bool, whether the unit had no activation on noise, so that the activation before the
            activation function is given.
        top_ids: for each unit, the images of the run with the highest activation, highest first: ids of samples, or
            of objects.
        top_activations: (U, n) float32, activations of the top images.
        montage: PNG with all units.
        tiles: one PNG per unit: the image by gradient ascent, and the top images.
        files: one PNG per unit: only the image by gradient ascent, at its original size, with contrast stretched
            from black to white.
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
    """A visualized unit, as stored for the panel.

    Attributes:
        unit: index of the unit.
        tile: path of the PNG.
        top_samples: ids of the samples of its top images.
    """

    unit: int
    tile: str
    top_samples: tuple[str, ...]


@database_needed("repeat the call")
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
    """Visualize units of a layer: an image that maximizes the activation, and the images of the run with the highest.

    The PNG files are stored with the run, for the Clusters panel, and also written to ``out_dir`` if it is given. While
    the run is locked, as when it is resumed, they cannot be stored with it: a warning says so, and where they are.

    Args:
        samples: the dataset, or any view of it.
        key: key of the run.
        layer: name of the layer, see ``list_layers``; by default the last convolutional layer.
        out_dir: folder for the PNG files; created if missing.
        units: unit indices; by default 16 evenly spaced units.
        ascent: steps, rate, decay, blur of the gradient ascent.
        observer: receives progress events; can cancel.

    Raises:
        RunNotFoundError: no such run.
        RunError: its network is not stored on this machine.
        InputError: no such layer or unit (the existing ones are listed), or ``out_dir`` cannot be used as a folder.
    """
    from fiftyone_deepcluster.analysis.unit_images import check_units, maximize, spread_units, top_images

    check_observer(observer)
    run = load_run(samples, key)
    source = images_of(run)
    if layer is not None:
        arguments.one_name("layer", layer, "conv1")
    folder = None if out_dir is None else _folder(out_dir)
    climb = ascent if isinstance(ascent, Ascent) else _ascent({} if ascent is None else ascent)
    with open_run(run, source, observer) as trained_run:
        known = layers_of_run(trained_run)
        chosen = _choose(run, known, layer)
        wanted = spread_units(chosen, N_UNITS) if units is None else check_units(chosen, units)
        maximized = maximize(trained_run.trained, chosen, wanted, climb)
        top = top_images(trained_run.trained, chosen, wanted)
        drawn = chosen, maximized, top

        def save(now: Run) -> _Files:
            save_layers(now, units_by_layer(known))
            return _save(now, source, trained_run, drawn)

        files = store(run, "draw_filters", save)
        if files is None or folder is not None:
            files = _write_outside(folder, trained_run, drawn)
        return _filters(source, trained_run, drawn, files)


def stored_filters(run: Run) -> tuple[str, list[DrawnUnit]] | None:
    """Stored result of ``draw_filters``: the layer and its units; None if there is none."""
    findings = Findings(run)
    found = findings.load(_FILTERS)
    if found is None:
        return None
    units = [
        DrawnUnit(entry["unit"], str(findings.path(_FILTERS, entry["tile"])), tuple(entry["top_samples"]))
        for entry in found["units"]
    ]
    return found["layer"], units


def _choose(run: Run, layers: Sequence[Layer], name: str | None) -> Layer:
    """The layer; if there is none of this name, the layers are stored, so that the App's form offers them."""
    from fiftyone_deepcluster.backbones.layers import choose_layers

    if name is None:
        return next((layer for layer in reversed(layers) if len(layer.shape) == 3), layers[-1])
    try:
        return choose_layers(layers, [name])[0]
    except InputError:
        with suppress(RunError):  # locked, or deleted since
            store(run, "draw_filters", lambda now: save_layers(now, units_by_layer(layers)))
        raise


def _save(run: Run, source: SampleSource, trained_run: TrainedRun, drawn: _Drawn) -> _Files:
    """Write the PNG files to the run's folder."""
    layer, maximized, top = drawn
    findings = Findings(run)
    images = trained_run.store.kept[top.rows]
    with findings.new_folder(_FILTERS) as folder:
        files = _write(folder, trained_run, drawn)
        units = [
            {"unit": unit, "tile": tile.name, "top_samples": [source.sample_ids[row] for row in rows]}
            for unit, tile, rows in zip(maximized.units.tolist(), files[1], images, strict=True)
        ]
        findings.save(_FILTERS, {"layer": layer.name, "units": units})
    return files


def _filters(source: SampleSource, trained_run: TrainedRun, drawn: _Drawn, files: _Files) -> Filters:
    layer, maximized, top = drawn
    images = trained_run.store.kept[top.rows]
    return Filters(
        layer=layer.name,
        units=maximized.units,
        images=maximized.images,
        activations=maximized.activations,
        silent=maximized.silent,
        top_ids=[[source.ids[row] for row in rows] for rows in images],
        top_activations=top.activations,
        montage=files[0],
        tiles=files[1],
        files=files[2],
    )


def _write_outside(out_dir: Path | None, trained_run: TrainedRun, drawn: _Drawn) -> _Files:
    """Write the PNG files to a folder; None: to a new temporary one, which a warning names."""
    if out_dir is None:
        out_dir = Path(tempfile.mkdtemp(prefix="filters-"))
        logger.warning("the PNG files of draw_filters are in %s", out_dir)
    with disk_errors(out_dir, "the PNG files", after="call again", elsewhere="give another out_dir"):
        return _write(out_dir, trained_run, drawn)


def _write(folder: Path, trained_run: TrainedRun, drawn: _Drawn) -> _Files:
    """Write and return the montage, the tiles, and the images by gradient ascent."""
    from fiftyone_deepcluster.analysis.montage import picture, sheet, stretched, tile

    layer, maximized, top = drawn
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{layer.name}-unit-{unit:03d}" for unit in maximized.units.tolist()]
    tiles = [tile(maximized.images[at], _pixels(trained_run, top.rows[at])) for at in range(len(names))]
    montage = folder / f"{layer.name}.png"
    sheet(tiles).save(montage)
    tile_files, files = (
        [folder / f"{name}-top.png" for name in names],
        [folder / f"{name}.png" for name in names],
    )
    for at in range(len(names)):
        tiles[at].save(tile_files[at])
        picture(stretched(maximized.images[at])).save(files[at])
    return montage, tile_files, files


def _pixels(trained_run: TrainedRun, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, size, size, C) uint8, the images at the network's input size."""
    import torch

    from fiftyone_deepcluster.images.augment import plain

    pixels = torch.from_numpy(trained_run.store.read(rows)).permute(0, 3, 1, 2)
    seen = plain(pixels, trained_run.trained.size)
    return (seen.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _folder(out_dir: object) -> Path:
    """Validate the folder to write to, which need not exist, before any work is done."""
    folder = arguments.path_of("out_dir", out_dir)
    problem = folder_problem(folder)
    if problem is not None:
        raise InputError(
            f"out_dir={arguments.short(str(folder))}: {problem}; give the path of a writable folder"
        )
    return folder


def _ascent(values: dict[str, Any]) -> Ascent:
    from pydantic import ValidationError

    from fiftyone_deepcluster.core.option_errors import explain

    if not isinstance(values, dict):
        raise InputError(
            f"ascent={arguments.short(values)} is not a dict of options; give one such as {{'steps': 300}}"
        )
    try:
        return Ascent.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, "ascent", Ascent)) from error
