"""Report the state of FiftyOne; run in a subprocess by the ``doctor`` command.

In a subprocess, a failing import of FiftyOne or start of its database is one line of the doctor's report and does
not abort it. Prints one JSON object as the last line.
"""

from __future__ import annotations

import json
import sys


def main(deep: bool, plugin: str) -> dict[str, object]:
    """State of the plugin in FiftyOne; with ``deep`` also of the database.

    Args:
        deep: connect to the database; FiftyOne starts it if necessary.
        plugin: name of the plugin to look for.
    """
    import fiftyone as fo
    import fiftyone.plugins as fop
    from fiftyone.operators.registry import OperatorRegistry

    from fiftyone_deepcluster.dataset.runs.intents import find_datasets
    from fiftyone_deepcluster.dataset.runs.orphans import find_leftovers, find_run_files
    from fiftyone_deepcluster.dataset.runs.run_files import runs_folder

    found = [entry for entry in fop.list_plugins(enabled="all") if entry.name == plugin]
    enabled = {entry.name for entry in fop.list_plugins()}
    report: dict[str, object] = {
        "version": fo.__version__,
        "plugins_dir": fo.config.plugins_dir,
        "plugin_folder": found[0].directory if found else None,
        "plugin_enabled": plugin in enabled,
        "plugin_errors": [str(error) for error in OperatorRegistry().list_errors()] if found else [],
    }
    report["run_files"] = [str(runs_folder()), sum(files.n_bytes for files in find_run_files())]
    if deep:
        report["datasets"] = len(fo.list_datasets())
        report["unfinished"] = find_datasets()
        report["leftovers"] = [files.n_bytes for files in find_leftovers()]
    return report


if __name__ == "__main__":
    answer = main(deep="--deep" in sys.argv, plugin=sys.argv[1])
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
