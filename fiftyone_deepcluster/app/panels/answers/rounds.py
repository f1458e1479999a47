"""Charts of the rounds of a run, the comparison of two runs, and the agreement of several."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from fiftyone_deepcluster.app.panels.answers.common import Json, run_of, text_param
from fiftyone_deepcluster.app.panels.answers.views import put_into_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import fiftyone.operators as foo

    from fiftyone_deepcluster.core.record import Round


_NMI_DROP, _LOSS_JUMP = 0.2, 1.5


def rounds(ctx: foo.ExecutionContext) -> Json:
    """Charts of every metric that the run has, and alarms."""
    entries = run_of(ctx).rounds
    charts = [
        _chart("Loss", "", entries, {"loss": lambda entry: entry.loss}),
        _chart(
            "Agreement with the last round",
            "",
            entries,
            {
                "NMI": lambda entry: entry.change.nmi if entry.change else None,
                "purity": lambda entry: entry.change.purity if entry.change else None,
            },
        ),
        _chart(
            "Agreement with the truth",
            "measured only",
            entries,
            {
                "ACC": lambda entry: entry.truth.acc if entry.truth else None,
                "NMI": lambda entry: entry.truth.nmi if entry.truth else None,
                "purity": lambda entry: entry.truth.purity if entry.truth else None,
            },
        ),
        _chart("Clusters in use", "", entries, {"clusters": lambda entry: entry.clusters_in_use}),
        _chart(
            "Largest cluster", "share of all images", entries, {"share": lambda entry: entry.largest_share}
        ),
        _chart(
            "Seconds by phase",
            "",
            entries,
            {phase: partial(_seconds, phase) for phase in _phases(entries)},
        ),
    ]
    return {"charts": [chart for chart in charts if chart is not None], "alarms": alarms(entries)}


def _phases(entries: Sequence[Round]) -> list[str]:
    return list(dict.fromkeys(phase for entry in entries for phase in entry.seconds))


def _seconds(phase: str, entry: Round) -> float | None:
    return entry.seconds.get(phase)


def _chart(
    title: str, unit: str, entries: Sequence[Round], lines: dict[str, Callable[[Round], float | None]]
) -> Json | None:
    """One chart; None if it has no values."""
    drawn = [{"name": name, "values": [read(entry) for entry in entries]} for name, read in lines.items()]
    drawn = [line for line in drawn if any(value is not None for value in line["values"])]
    return {"title": title, "unit": unit, "lines": drawn} if drawn else None


def alarms(entries: Sequence[Round]) -> list[str]:
    """Sentences about rounds in which the agreement drops or the loss jumps."""
    found = []
    for before, entry in pairwise(entries):
        if before.change and entry.change and entry.change.nmi < before.change.nmi - _NMI_DROP:
            found.append(
                f"Round {entry.index + 1}: the clusters changed more than before (NMI to the last round "
                f"{before.change.nmi:.2f} → {entry.change.nmi:.2f})."
            )
        if before.loss and entry.loss and entry.loss > _LOSS_JUMP * before.loss:
            found.append(
                f"Round {entry.index + 1}: the loss jumped from {before.loss:.3g} to {entry.loss:.3g}."
            )
    return found


def compare(ctx: foo.ExecutionContext) -> Json:
    """Contingency table of a run and another run or a label field."""
    from fiftyone_deepcluster.dataset.results.compare import compare_runs

    found = compare_runs(ctx.dataset, text_param(ctx, "key"), text_param(ctx, "other"))
    return {
        "rows": found.rows,
        "columns": found.columns,
        "counts": found.counts.tolist(),
        "ari": found.ari,
        "nmi": found.nmi,
        "text": found.sentences(),
    }


def ranking(ctx: foo.ExecutionContext) -> Json:
    """All finished runs of the same objects as the open run, by their agreement with each other."""
    from fiftyone_deepcluster.dataset.results.compare import rank_runs
    from fiftyone_deepcluster.dataset.runs.run import finished_runs, load_run

    run = run_of(ctx)
    runs = (load_run(ctx.dataset, key) for key in finished_runs(ctx.dataset))
    found = rank_runs(ctx.dataset, [other.key for other in runs if other.patches_field == run.patches_field])
    rows = zip(found.names, found.agreement.tolist(), found.n_clusters.tolist(), strict=True)
    return {"rows": [{"key": key, "nmi": nmi, "clusters": clusters} for key, nmi, clusters in rows]}


def show_pair(ctx: foo.ExecutionContext) -> None:
    """Show the images of one cell of the table in the grid."""
    from fiftyone_deepcluster.dataset.results.compare import pair_view

    run = run_of(ctx)
    view = pair_view(
        ctx.dataset, run.key, text_param(ctx, "other"), text_param(ctx, "cluster"), text_param(ctx, "value")
    )
    put_into_grid(ctx, run, view)
