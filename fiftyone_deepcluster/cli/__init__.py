"""Command line: ``fiftyone-deepcluster`` with the commands of this module."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import fiftyone_deepcluster
from fiftyone_deepcluster.cli.notices import hide_version_notice
from fiftyone_deepcluster.core.words import counted
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
_INTERRUPTED = 130  # exit status of shells after Ctrl-C
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
    hide_version_notice()


@app.command(name="doctor")
def doctor_command(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also connect to the database; FiftyOne starts it.")
    ] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Also check the requirements of the tests.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="Only clean up: complete interrupted changes of runs, delete run files of deleted datasets.",
        ),
    ] = False,
) -> None:
    """Check the installation; for every problem, print the command that fixes it."""
    from fiftyone_deepcluster.cli import doctor

    with _errors_in_one_line():
        checks = doctor.clean() if clean else doctor.examine(deep=deep, dev=dev)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _show(checks)
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(1)


@app.command(name="install")
def install_command(
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Remove the plugin from FiftyOne.")] = False,
) -> None:
    """Register the plugin with FiftyOne: link a checkout, or create a small folder for a wheel."""
    from fiftyone_deepcluster.cli.plugin import PLUGIN_NAME, install_plugin, plugins_dir, uninstall_plugin

    with _errors_in_one_line():
        folder = plugins_dir()
        if uninstall:
            removed = uninstall_plugin(folder)
            typer.echo(f"{PLUGIN_NAME} {'removed from' if removed else 'is not in'} {folder}")
        else:
            typer.echo(f"{PLUGIN_NAME} registered at {install_plugin(folder)}")


@app.command(name="cluster")
def cluster_command(  # noqa: PLR0917 - one parameter per command-line option
    samples: Annotated[str, typer.Argument(help="Name of a FiftyOne dataset, or folder of images.")],
    method: Annotated[
        str | None, typer.Option(help="Clustering method; see `fiftyone-deepcluster methods`.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Name of the run and of its fields.")] = None,
    n_clusters: Annotated[int | None, typer.Option(help="Number of clusters.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option as name=value; may be repeated.")] = None,
    truth_field: Annotated[
        str | None, typer.Option(help="Field with known classes; used for evaluation only.")
    ] = None,
    embeddings_field: Annotated[
        list[str] | None,
        typer.Option(
            help="Field with vectors to cluster instead of network features, for frozen, or together with them, for "
            "self-training; may be repeated: several are each scaled to length 1 and joined."
        ),
    ] = None,
    view: Annotated[str | None, typer.Option(help="Name of a saved view of the dataset.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing run with this key, unless it has edits.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run with this key.")] = False,
) -> None:
    """Cluster the images of a dataset or folder; print rounds and clusters."""
    from fiftyone_deepcluster.cli.clustering import Request, report, run_request
    from fiftyone_deepcluster.cli.options import parse_pairs

    given = {"method": method, "key": key, "n_clusters": n_clusters, "truth_field": truth_field}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if embeddings_field:  # one is given as a string: its vectors are used as they are
        settings["embeddings_field"] = embeddings_field if len(embeddings_field) > 1 else embeddings_field[0]
    if overwrite:
        settings["overwrite"] = True
    with _errors_in_one_line():
        settings |= parse_pairs(option or [])
        run = run_request(Request(samples, view, settings, resume))
        typer.echo(report(run))


@app.command(name="refine")
def refine_command(
    dataset: Annotated[str, typer.Argument(help="Name of a FiftyOne dataset.")],
    key: Annotated[str, typer.Option(help="Name of the reviewed run.")] = "dc",
    new_key: Annotated[
        str | None, typer.Option(help="Name of the new run; by default the next free one.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Option of the method as name=value, or reviewed_weight=value for the weight of reviewed images in "
            "the loss; may be repeated."
        ),
    ] = None,
) -> None:
    """Continue a reviewed run as a new run; print rounds, clusters, and a comparison of the two runs."""
    from fiftyone_deepcluster.cli.clustering import refine_request
    from fiftyone_deepcluster.cli.options import parse_pairs

    with _errors_in_one_line():
        typer.echo(refine_request(dataset, key, new_key, parse_pairs(option or [])))


@app.command(name="audit")
def audit_command(  # noqa: PLR0917 - one parameter per command-line option
    samples: Annotated[str, typer.Argument(help="Name of a FiftyOne dataset, or folder of images.")],
    label_field: Annotated[str, typer.Argument(help="Field with the labels to audit.")],
    key: Annotated[str, typer.Option(help="Name of the audit and of its fields.")] = "audit",
    run: Annotated[str | None, typer.Option(help="Clustering run whose features are used.")] = None,
    embeddings_field: Annotated[
        list[str] | None, typer.Option(help="Field with vectors; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="FiftyOne zoo model that computes the vectors.")] = None,
    group_field: Annotated[
        str | None, typer.Option(help="Field with groups: patients, series, splits.")
    ] = None,
    view: Annotated[str | None, typer.Option(help="Name of a saved view of the dataset.")] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an existing audit with this key, unless it has decisions."),
    ] = False,
    table: Annotated[str | None, typer.Option(help="Also write the labels to this CSV file.")] = None,
    html: Annotated[str | None, typer.Option(help="Also write a report to this HTML file.")] = None,
) -> None:
    """Find labels that are probably wrong; print them by class. No label is changed."""
    from fiftyone_deepcluster.cli.auditing import audit_and_write, audit_report

    settings = {
        "key": key, "run": run, "embeddings_field": embeddings_field, "model": model,
        "group_field": group_field, "overwrite": overwrite,
    }  # fmt: skip
    with _errors_in_one_line():
        audit = audit_and_write(samples, view, label_field, settings, (table, html))
        typer.echo(audit_report(audit))


@app.command(name="import-dicom")
def import_dicom_command(
    files: Annotated[str, typer.Argument(help="Folder, file, or DICOMDIR.")],
    dataset: Annotated[
        str, typer.Argument(help="Name of the FiftyOne dataset; created if it does not exist.")
    ],
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option as name=value; may be repeated; see `methods import-dicom`."),
    ] = None,
) -> None:
    """Add the images of DICOM files to a dataset; print what was imported and what was skipped.

    Exits with status 1 if none of the images is in the dataset afterwards.
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
            help="Method or import-dicom: list its options. backbone, encoder, clusterer, reducer: list the choices."
        ),
    ] = None,
    part: Annotated[
        str | None, typer.Argument(help="One of these choices: list its options, e.g. `encoder pooled`.")
    ] = None,
) -> None:
    """List all methods, the options of a method, or the choices of an option and their options."""
    from fiftyone_deepcluster.cli.options import methods_table, options_table

    width = shutil.get_terminal_size((100, 24)).columns
    with _errors_in_one_line():
        typer.echo(methods_table(width) if name is None else options_table(name, part, width))


@app.command(name="worker")
def worker_command(
    once: Annotated[bool, typer.Option("--once", help="Exit when the queue is empty.")] = False,
    poll: Annotated[float, typer.Option(help="Polling interval of the queue in seconds.", min=0.1)] = 2.0,
) -> None:
    """Execute operations scheduled in the App, until Ctrl-C.

    The App offers "Schedule" only if its server runs with FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true.
    """
    from fiftyone_deepcluster.cli.worker import work

    typer.echo(
        "waiting for scheduled operations; stop with Ctrl-C" if not once else "executing queued operations"
    )
    done = work(once=once, poll_seconds=poll, echo=typer.echo)
    typer.echo(f"{counted(done, 'operation')} executed")


@app.command(name="open")
def open_command(
    dataset: Annotated[str, typer.Argument(help="Name of a FiftyOne dataset.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of the App's server; by default a free one.")
    ] = None,
) -> None:
    """Open a dataset in the App, until Ctrl-C.

    The App gets no secrets of your shell. If another plugin needs one, name it: FIFTYONE_DEEPCLUSTER_PASS_ENV=NAME,...
    """
    from fiftyone_deepcluster.cli.launch import open_app

    with _errors_in_one_line():
        open_app(dataset, port)


def _show(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        state = typer.style(check.state.ljust(8), fg=_COLORS[check.state])
        typer.echo(f"{state}  {check.name.ljust(width)}  {check.detail}")
        if check.fix:
            typer.echo(f"{' ' * (12 + width)}fix: {check.fix}")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Print expected errors without traceback, as their message names the fix."""
    try:
        yield
    except DeepClusterError as error:
        # translate the hint from Python to the command line
        text = str(error).replace("overwrite=True", "--overwrite")
        typer.secho(f"error: {text}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("\nstopped", err=True)
        raise typer.Exit(_INTERRUPTED) from None
