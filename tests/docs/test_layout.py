"""No modules of the package import each other in a circle, type hints included."""

from graphlib import TopologicalSorter

import grimp


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("fiftyone_deepcluster", cache_dir=None)
    needs = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    assert len(list(TopologicalSorter(needs).static_order())) == len(
        graph.modules
    )  # CycleError names the circle
