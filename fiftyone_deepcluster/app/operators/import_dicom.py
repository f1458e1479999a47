"""Operator: import DICOM files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.background import Job

_FRAMES = {
    "all": "all images",
    "first": "only the first image of each file",
    "start": "only the image at the start of each slice's recording",
}


class ImportDicom(JobOperator):
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
        _add_complaints(inputs, ctx)
        if not inputs.get_property("new_dataset").invalid:
            inputs.view("target", types.Notice(label=_target_text(ctx)))
        return shared_inputs.form(inputs, "Import DICOM", "Import")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The import into the dataset that is open, or into the one that is named."""
        from fiftyone_deepcluster.dataset.background import Job
        from fiftyone_deepcluster.images.dicom.find import check_one, check_paths

        files = values.long_text(ctx.params, "files")
        if files is None:
            raise InputError("no folder was given; set files to a folder with DICOM files")
        check_one(*check_paths(files))
        new_dataset = values.text(ctx.params, "new_dataset")
        arguments = {"files": files, "new_dataset": new_dataset, **_options(ctx.params)}
        return Job("import_dicom", ctx.dataset, arguments=arguments)

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


def _target_text(ctx: foo.ExecutionContext) -> str:
    """Where the images will go."""
    import fiftyone as fo

    name = values.text(ctx.params, "new_dataset")
    if name is None:
        return (
            f"The images are added to {ctx.dataset.name!r}, which has {counted(len(ctx.dataset), 'sample')}"
        )
    if fo.dataset_exists(name):
        return f"The images are added to {name!r}, which exists"
    return f"A dataset {name!r} is created from the images"


def _options(params: dict[str, Any]) -> dict[str, Any]:
    """Options of the import, checked."""
    from fiftyone_deepcluster.dataset.dicom.import_files import parse_dicom_options
    from fiftyone_deepcluster.images.dicom.header import SAFE_KEYWORDS

    named = [word.strip() for word in (values.long_text(params, "keywords") or "").split(",") if word.strip()]
    keywords = (*SAFE_KEYWORDS, *(word for word in named if word not in SAFE_KEYWORDS))
    frames = values.text(params, "frames") or "all"
    options = {"frames": frames, "keywords": list(keywords)}
    parse_dicom_options(options)
    return options


def _add_complaints(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Validate the inputs while typing; folders are not searched."""
    from fiftyone_deepcluster.dataset.dicom.samples import find_target
    from fiftyone_deepcluster.images.dicom.find import check_at_first_sight, check_paths

    with shared_inputs.complaining(inputs, "files"):
        if files := values.long_text(ctx.params, "files"):
            check_at_first_sight(*check_paths(files))
    with shared_inputs.complaining(inputs, "keywords"):
        options = _options(ctx.params)
        with shared_inputs.complaining(inputs, "new_dataset"):
            find_target(values.text(ctx.params, "new_dataset") or ctx.dataset, tuple(options["keywords"]))
