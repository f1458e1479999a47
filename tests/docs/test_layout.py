"""The layout of the package: no module is imported by one that it imports itself, type hints included."""

from graphlib import TopologicalSorter

import grimp


def test_imports_go_round_in_no_circle():
    graph = grimp.build_graph("fiftyone_deepcluster", cache_dir=None)
    needs = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    assert len(list(TopologicalSorter(needs).static_order())) == len(
        graph.modules
    )  # CycleError names the circle
