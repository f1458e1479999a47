"""Import DICOM: the form, and the import behind it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import shared_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.dicom.import_files import Step

logger = logging.getLogger(__name__)

_SHOWN_LINES = 4  # of the summary; a note on the screen has no room for more
_FRAMES = {
    "all": "every image",
    "first": "of a file with several images only the first",
    "start": "of every slice only the image at the start of its recording",
}


class ImportDicom(foo.Operator):
    """Adds the images of DICOM files to the dataset."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label, and how it may run."""
        return shared_inputs.job_config(
            "import_dicom",
            "Import DICOM",
            "Add the images of DICOM files, found by content, with a picture to look at and no "
            "names, dates or numbers of patients.",
            "upload_file",
            writes=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Where the files are, and what is read of them."""
        inputs = types.Object()
        inputs.str(
            "files",
            required=True,
            label="Folder or file",
            description="On the machine that runs FiftyOne's server. A folder is walked, and what is DICOM is told by "
            "content, not by name; a DICOMDIR stands for the files it lists.",
        )
        choices = types.DropdownView()
        for value, label in _FRAMES.items():
            choices.add_choice(value, label=label)
        inputs.enum("frames", choices.values(), default="all", label="Import", view=choices)
        inputs.str(
            "keywords",
            label="Further DICOM keywords",
            description="With commas, such as SeriesDescription, ProtocolName. Those read without being asked for "
            "hold no identities; free text may hold names.",
        )
        _complain(inputs, ctx.params)
        return shared_inputs.form(inputs, "Import DICOM", "Import")

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Import, telling progress; then show what was imported.

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
            # the App shows an empty dialog for an error in the middle of a stream, so there it is told in words
            logger.exception("importing DICOM failed")
            yield ctx.ops.notify(str(error), variant="error")
            if ctx.prompt_id is None:
                raise
            return
        if summary is not None and not ctx.delegated:
            logger.info("%s", summary)
            yield ctx.ops.reload_dataset()
            lines = str(summary).splitlines()[:_SHOWN_LINES]
            variant = "warning" if summary.skipped or summary.nothing else "success"
            yield ctx.ops.notify("\n".join(lines), variant=variant)

    def __call__(self, files: str, dataset: fo.Dataset, *, delegate: bool = False, **settings: Any) -> object:
        """Run from a script, now or by a worker.

        Args:
            files: folder, file or DICOMDIR.
            dataset: to add to.
            delegate: queue it for a worker.
            **settings: ``frames``, ``keywords`` (besides the default ones, with commas).

        Returns:
            FiftyOne's execution result.
        """
        return foo.execute_operator(
            names.IMPORT_DICOM,
            {"dataset": dataset},
            params={"files": files, **settings},
            request_delegation=delegate,
        )


def _steps(ctx: foo.ExecutionContext) -> Iterator[Step]:
    from fiftyone_deepcluster.dataset.dicom.import_files import import_steps
    from fiftyone_deepcluster.errors import InputError

    files = ctx.params.get("files")
    if not files:
        raise InputError("no folder was chosen; give files=, a folder with DICOM files")
    return import_steps(files, ctx.dataset, _options(ctx.params))


def _options(params: dict[str, Any]) -> Any:
    from fiftyone_deepcluster.dataset.dicom.import_files import parse_dicom_options
    from fiftyone_deepcluster.images.dicom.header import SAFE_KEYWORDS

    named = [word.strip() for word in (params.get("keywords") or "").split(",") if word.strip()]
    keywords = (*SAFE_KEYWORDS, *(word for word in named if word not in SAFE_KEYWORDS))
    return parse_dicom_options({"frames": params.get("frames") or "all", "keywords": keywords})


def _complain(inputs: types.Object, params: dict[str, Any]) -> None:
    """Say while it is typed what cannot work."""
    from fiftyone_deepcluster.errors import InputError
    from fiftyone_deepcluster.images.dicom.find import check_one, check_paths

    try:
        if files := params.get("files"):
            check_one(*check_paths(files))
    except InputError as error:
        shared_inputs.complain(inputs, "files", error)
    try:
        _options(params)
    except InputError as error:
        shared_inputs.complain(inputs, "keywords", error)
