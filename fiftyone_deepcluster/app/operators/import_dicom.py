"""Operator: import DICOM files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.dicom.import_files import Step

logger = logging.getLogger(__name__)

_SHOWN_LINES = 4  # of the summary; a notification has no room for more
_FRAMES = {
    "all": "all images",
    "first": "only the first image of each file",
    "start": "only the image at the start of each slice's recording",
}


class ImportDicom(foo.Operator):
    """Adds the images of DICOM files to the dataset, or makes a dataset of them."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "import_dicom",
            "Import DICOM",
            "Add the images of DICOM files to this dataset or a new one. Files are detected by content; images are "
            "rendered for the App, without patient names, dates or numbers.",
            "upload_file",
            "high",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: path of the files, dataset, images to import, additional header keywords."""
        inputs = types.Object()
        inputs.str(
            "files",
            required=True,
            label="Folder or file",
            description="Path on the machine of FiftyOne's server. Folders are searched recursively; DICOM files "
            "are detected by content, not by name. A DICOMDIR stands for the files it lists.",
        )
        inputs.str(
            "new_dataset",
            label="Name of a new dataset",
            description=f"Empty: the images are added to {ctx.dataset.name!r}, the dataset that is open.",
        )
        choices = types.DropdownView()
        for value, label in _FRAMES.items():
            choices.add_choice(value, label=label)
        inputs.enum("frames", choices.values(), default="all", label="Import", view=choices)
        inputs.str(
            "keywords",
            label="Additional DICOM keywords",
            description="Comma-separated, such as SeriesDescription, ProtocolName. The default keywords hold no "
            "identities; free text may hold names.",
        )
        _complain(inputs, ctx.params)
        inputs.view("target", types.Notice(label=_target_text(ctx)))
        return shared_inputs.form(inputs, "Import DICOM", "Import")

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Import, reporting progress; then show what was imported.

        Yields:
            Messages to the App.
        """
        summary = None
        try:
            for step in _steps(ctx):
                summary = step.summary
                label = f"{step.done:,} of {step.total:,} files, {summary.imported:,} images"
                fraction = step.done / max(1, step.total)
                if ctx.delegated:
                    ctx.set_progress(progress=fraction, label=label)
                else:
                    yield ctx.ops.set_progress(progress=fraction, label=label)
        except Exception as error:
            # the App shows an empty dialog for an exception raised in a generator: send a notification instead
            logger.exception("importing DICOM failed")
            yield ctx.ops.notify(str(error), variant="error")
            if not shared_inputs.from_app(ctx):
                raise
            return
        if summary is not None and not ctx.delegated:
            logger.info("%s", summary)
            yield _show(ctx)
            lines = str(summary).splitlines()[:_SHOWN_LINES]
            variant = "warning" if summary.skipped or summary.nothing else "success"
            yield ctx.ops.notify("\n".join(lines), variant=variant)

    def __call__(self, files: str, dataset: fo.Dataset, *, delegate: bool = False, **settings: Any) -> object:
        """Run from a script, immediately or in a worker.

        Args:
            files: path of a folder, file or DICOMDIR.
            dataset: dataset to add the images to.
            delegate: queue the operation for a worker.
            **settings: ``frames``, ``keywords`` (comma-separated, in addition to the default ones), ``new_dataset``
                (name of a dataset to add to instead, created if it does not exist).

        Returns:
            Execution result of FiftyOne.
        """
        return foo.execute_operator(
            names.IMPORT_DICOM,
            {"dataset": dataset},
            params={"files": files, **settings},
            request_delegation=delegate,
        )


def _steps(ctx: foo.ExecutionContext) -> Iterator[Step]:
    from fiftyone_deepcluster.dataset.dicom.import_files import import_steps

    files = values.long_text(ctx.params, "files")
    if files is None:
        raise InputError("no folder was given; set files to a folder with DICOM files")
    return import_steps(files, values.text(ctx.params, "new_dataset") or ctx.dataset, _options(ctx.params))


def _target_text(ctx: foo.ExecutionContext) -> str:
    """Where the images will go."""
    import fiftyone as fo

    try:
        name = values.text(ctx.params, "new_dataset")
    except InputError:
        return "Choose another name for the new dataset"
    if name is None:
        return f"The images are added to {ctx.dataset.name!r}, which has {len(ctx.dataset):,} samples"
    if fo.dataset_exists(name):
        return f"The images are added to {name!r}, which exists"
    return f"A dataset {name!r} is created from the images, and opened"


def _show(ctx: foo.ExecutionContext) -> Any:
    """Show the dataset with the new images."""
    import fiftyone as fo

    name = values.text(ctx.params, "new_dataset")
    if name is not None and fo.dataset_exists(name):  # without any image, none is created
        return ctx.ops.open_dataset(name)
    return ctx.ops.reload_dataset()


def _options(params: dict[str, Any]) -> Any:
    from fiftyone_deepcluster.dataset.dicom.import_files import parse_dicom_options
    from fiftyone_deepcluster.images.dicom.header import SAFE_KEYWORDS

    named = [word.strip() for word in (values.long_text(params, "keywords") or "").split(",") if word.strip()]
    keywords = (*SAFE_KEYWORDS, *(word for word in named if word not in SAFE_KEYWORDS))
    frames = values.text(params, "frames") or "all"
    return parse_dicom_options({"frames": frames, "keywords": keywords})


def _complain(inputs: types.Object, params: dict[str, Any]) -> None:
    """Validate the inputs while typing."""
    from fiftyone_deepcluster.images.dicom.find import check_one, check_paths

    try:
        if files := values.long_text(params, "files"):
            check_one(*check_paths(files))
    except InputError as error:
        shared_inputs.complain(inputs, "files", error)
    try:
        _options(params)
    except InputError as error:
        shared_inputs.complain(inputs, "keywords", error)
