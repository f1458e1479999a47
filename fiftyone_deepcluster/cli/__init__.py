"""The command line: ``fiftyone-deepcluster doctor | install | cluster | import-dicom | methods | worker | open``."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import fiftyone_deepcluster
from fiftyone_deepcluster.errors import DeepClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.cli.checks import Check

app = typer.Typer(
    help="Deep clustering for FiftyOne datasets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_INTERRUPTED = 130  # what shells give after Ctrl-C
_COLORS = {"ok": typer.colors.GREEN, "missing": typer.colors.RED, "optional": typer.colors.YELLOW}


def _version(value: bool) -> None:
    if value:
        typer.echo(fiftyone_deepcluster.__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Deep clustering for FiftyOne datasets."""


@app.command(name="doctor")
def doctor_command(
    deep: Annotated[bool, typer.Option("--deep", help="Also connect; FiftyOne starts its database.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Also look for what the tests need.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Only delete the files of runs whose dataset is gone.")
    ] = False,
) -> None:
    """Say what is installed, what is missing, and the command that mends it."""
    from fiftyone_deepcluster.cli import doctor

    with _errors_in_one_line():
        checks = [doctor.clean()] if clean else doctor.examine(deep=deep, dev=dev)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _show(checks)
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(1)


@app.command(name="install")
def install_command(
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take the plugin out again.")] = False,
) -> None:
    """Register the plugin with FiftyOne: a link to a checkout, a small folder for a wheel."""
    from fiftyone_deepcluster.cli.plugin import PLUGIN_NAME, install_plugin, plugins_dir, uninstall_plugin

    with _errors_in_one_line():
        folder = plugins_dir()
        if uninstall:
            removed = uninstall_plugin(folder)
            typer.echo(f"{PLUGIN_NAME} {'removed from' if removed else 'is not in'} {folder}")
        else:
            typer.echo(f"{PLUGIN_NAME} registered at {install_plugin(folder)}")


@app.command(name="cluster")
def cluster_command(  # noqa: PLR0917 - one parameter an option of the command line
    samples: Annotated[str, typer.Argument(help="A FiftyOne dataset's name, or a folder of images.")],
    method: Annotated[str | None, typer.Option(help="See `fiftyone-deepcluster methods`.")] = None,
    key: Annotated[str | None, typer.Option(help="Name of the run and of its fields.")] = None,
    n_clusters: Annotated[int | None, typer.Option(help="Number of clusters.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="name=value; may be repeated.")] = None,
    truth_field: Annotated[str | None, typer.Option(help="Existing labels: measured, never used.")] = None,
    view: Annotated[str | None, typer.Option(help="A saved view of the dataset.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run under this key.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run under this key.")] = False,
) -> None:
    """Cluster the images of a dataset or folder; print the rounds and the clusters."""
    from fiftyone_deepcluster.cli.clustering import Request, report, run_request
    from fiftyone_deepcluster.cli.options import parse_pairs

    given = {"method": method, "key": key, "n_clusters": n_clusters, "truth_field": truth_field}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if overwrite:
        settings["overwrite"] = True
    with _errors_in_one_line():
        settings |= parse_pairs(option or [])
        run = run_request(Request(samples, view, settings, resume))
        typer.echo(report(run))


@app.command(name="import-dicom")
def import_dicom_command(
    files: Annotated[str, typer.Argument(help="A folder, a file, or a DICOMDIR.")],
    dataset: Annotated[str, typer.Argument(help="Name of the FiftyOne dataset, new or not.")],
    option: Annotated[
        list[str] | None, typer.Option(help="name=value; may be repeated; `methods import-dicom` lists them.")
    ] = None,
) -> None:
    """Add the images of DICOM files to a dataset; print what was imported and what was not.

    Exits with 1 where none of the images is in the dataset afterwards.
    """
    from fiftyone_deepcluster.cli.options import parse_pairs
    from fiftyone_deepcluster.dataset.dicom.import_files import add_dicom

    with _errors_in_one_line():
        summary = add_dicom(files, dataset, **parse_pairs(option or []))
    typer.echo(summary)
    if summary.nothing:
        raise typer.Exit(1)


@app.command(name="methods")
def methods_command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A method or import-dicom: its options. backbone, encoder, clusterer, reducer: the choice."
        ),
    ] = None,
    part: Annotated[
        str | None, typer.Argument(help="Of that choice: its options, as `encoder pooled`.")
    ] = None,
) -> None:
    """List the methods, the options of one, or the parts that an option takes and theirs."""
    from fiftyone_deepcluster.cli.options import methods_table, options_table

    width = shutil.get_terminal_size((100, 24)).columns
    with _errors_in_one_line():
        typer.echo(methods_table(width) if name is None else options_table(name, part, width))


@app.command(name="worker")
def worker_command(
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing is queued.")] = False,
    poll: Annotated[float, typer.Option(help="Seconds between two looks at the queue.", min=0.1)] = 2.0,
) -> None:
    """Carry out what the App scheduled, until Ctrl-C.

    The App offers "Schedule" only where its server runs with FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true.
    """
    from fiftyone_deepcluster.cli.worker import work

    typer.echo("waiting for scheduled operations; Ctrl-C stops" if not once else "working off the queue")
    done = work(once=once, poll_seconds=poll, echo=typer.echo)
    typer.echo(f"{done} operations carried out")


@app.command(name="open")
def open_command(
    dataset: Annotated[str, typer.Argument(help="Name of a FiftyOne dataset.")],
    port: Annotated[int | None, typer.Option(help="Of the App's server; a free one by default.")] = None,
) -> None:
    """Open the App on a dataset, until Ctrl-C."""
    from fiftyone_deepcluster.cli.launch import open_app

    with _errors_in_one_line():
        open_app(dataset, port)


def _show(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        state = typer.style(check.state.ljust(8), fg=_COLORS[check.state])
        typer.echo(f"{state}  {check.name.ljust(width)}  {check.detail}")
        if check.mend:
            typer.echo(f"{' ' * (12 + width)}mend it: {check.mend}")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Errors raised on purpose carry their way out: a traceback would hide it."""
    try:
        yield
    except DeepClusterError as error:
        # the way out as it is written here and not in Python
        text = str(error).replace("overwrite=True", "--overwrite")
        typer.secho(f"error: {text}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("\nstopped", err=True)
        raise typer.Exit(_INTERRUPTED) from None
