"""A group in the App's sidebar for every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.io.fields import BESIDE, FieldNames

if TYPE_CHECKING:
    import fiftyone as fo

# Vectors cannot be filtered: they stay where FiftyOne puts them
_SHOWN = tuple(name for name in BESIDE if name not in ("embedding", "round_labels", "round_losses"))


def add_group(dataset: fo.Dataset, names: FieldNames) -> None:
    """Put the filterable fields of a run into a sidebar group of its name, after the labels.

    Objects' attributes have no place of their own in the sidebar: FiftyOne shows them below their
    field, so a run on patches gets no group.
    """
    import fiftyone as fo

    if names.patches_field is not None:
        return
    paths = [names.key, *(names.path(name) for name in _SHOWN)]
    groups = _groups(dataset)
    for group in groups:
        group.paths = [path for path in group.paths if path not in paths]
    position = next((i + 1 for i, group in enumerate(groups) if group.name == "labels"), len(groups))
    groups = [group for group in groups if group.name != names.key or group.paths]
    groups.insert(position, fo.SidebarGroupDocument(name=names.key, paths=paths))
    dataset.app_config.sidebar_groups = groups
    dataset.save()


def remove_group(dataset: fo.Dataset, names: FieldNames) -> None:
    """Remove the run's group. Where only FiftyOne's own groups remain, the default layout returns."""
    import fiftyone as fo

    groups = dataset.app_config.sidebar_groups
    if not groups or all(group.name != names.key for group in groups):
        return
    groups = [group for group in groups if group.name != names.key]
    default = fo.DatasetAppConfig.default_sidebar_groups(dataset)
    dataset.app_config.sidebar_groups = None if _content(groups) == _content(default) else groups
    dataset.save()


def show_label(dataset: fo.Dataset, path: str) -> None:
    """Put a new label field among the labels, where the layout has been fixed before."""
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
