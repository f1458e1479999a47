"""Sidebar groups of runs in the App."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames


def add_group(dataset: fo.Dataset, names: FieldNames) -> None:
    """Put the fields of a run that exist into a sidebar group named after its key, below the labels.

    A group that is there stays where it is. Runs on patches get no group, because FiftyOne shows attributes of objects
    below their label field.
    """
    import fiftyone as fo

    if names.patches_field is not None:
        return
    layout = names.layout
    own = [*([names.key] if layout.in_label else []), *(names.path(name) for name in layout.listed)]
    groups = _groups(dataset)
    for group in groups:
        group.paths = [path for path in group.paths if path not in own]
    there = next((group for group in groups if group.name == names.key), None)
    if there is None:
        there = fo.SidebarGroupDocument(name=names.key)
        position = next((i + 1 for i, group in enumerate(groups) if group.name == "labels"), len(groups))
        groups.insert(position, there)
    there.paths = [*(path for path in own if dataset.get_field(path) is not None), *there.paths]
    dataset.app_config.sidebar_groups = groups
    dataset.save()


def remove_group(dataset: fo.Dataset, names: FieldNames) -> None:
    """Remove the run's group. If only FiftyOne's default groups remain, the default layout is restored."""
    import fiftyone as fo

    groups = dataset.app_config.sidebar_groups
    if not groups or all(group.name != names.key for group in groups):
        return
    groups = [group for group in groups if group.name != names.key]
    default = fo.DatasetAppConfig.default_sidebar_groups(dataset)
    dataset.app_config.sidebar_groups = None if _content(groups) == _content(default) else groups
    dataset.save()


def show_label(dataset: fo.Dataset, path: str) -> None:
    """Add a new label field to the "labels" group, if the dataset has a custom sidebar layout."""
    groups = dataset.app_config.sidebar_groups
    for group in groups or []:
        if group.name == "labels" and path not in group.paths:
            group.paths.append(path)
            dataset.save()


def _content(groups: list[fo.SidebarGroupDocument]) -> list[tuple[str, list[str]]]:
    return [(group.name, sorted(group.paths)) for group in groups if group.paths]


def _groups(dataset: fo.Dataset) -> list[fo.SidebarGroupDocument]:
    import fiftyone as fo

    return list(dataset.app_config.sidebar_groups or fo.DatasetAppConfig.default_sidebar_groups(dataset))
