"""Operators: key words of the clusters, and the category tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.analysis.texts import Rank
from fiftyone_deepcluster.app.operators import fields, findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.progress import analyze_and_show
from fiftyone_deepcluster.core import arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.core.progress import Observer

_WORDS, _MOST_WORDS = 10, 100


class FindKeyWords(foo.Operator):
    """Finds the key words of each cluster in its images' reports."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "find_key_words",
            "Find key words",
            "Show the key words of each cluster's reports: the most frequent words, without those common to all "
            "clusters, or the words that distinguish the cluster from the others. Stored with the run.",
            "abc",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, report field, number and ranking of words."""
        inputs = types.Object()
        run = findings.add_finished_run(inputs, ctx)
        if run is not None:
            known = fields.text_fields(ctx.dataset)
            own = run.options.known_fields.texts
            default = own if own in known else (known[0] if known else None)
            shared_inputs.add_choice(
                inputs,
                "text_field",
                known,
                default=default,
                label="Reports",
                description="String field with the reports. Words are shown unfiltered: remove personal names first.",
            )
            inputs.int("n_words", default=_WORDS, min=1, max=_MOST_WORDS, label="Words per cluster")
            shared_inputs.add_choice(
                inputs,
                "rank",
                list(get_args(Rank)),
                default=get_args(Rank)[0],
                label="Ranking",
                description="count: most frequent words. distinct: words that distinguish the cluster from the others; "
                "better for few or small clusters.",
            )
        return shared_inputs.form(inputs, "Find key words", "Find")

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Count the words.

        Yields:
            Messages to the App.
        """
        from fiftyone_deepcluster.dataset.results.categories import key_words

        key, field = shared_inputs.key_of(ctx), values.text(ctx.params, "text_field")
        n_words = values.number(ctx.params, "n_words", _WORDS, least=1, most=_MOST_WORDS)
        rank: Any = values.text(ctx.params, "rank") or get_args(Rank)[0]
        arguments.one_of("rank", rank, get_args(Rank))

        def work(observer: Observer) -> str:
            observer.phase("words", 1)
            found = key_words(ctx.dataset, key, field, n_words=n_words, rank=rank)
            observer.advance(1)
            return f"Key words of {sum(bool(words) for words in found.values())} of {len(found)} clusters"

        yield from analyze_and_show(ctx, key, "reading the reports of", work)


class BuildCategoryTree(foo.Operator):
    """Merges the clusters that the network confuses into groups, level by level."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "build_category_tree",
            "Build category tree",
            "Merge the clusters that a run's network confuses into groups, level by level, and write each image's "
            "groups to its category field.",
            "account_tree",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: select a run."""
        inputs = types.Object()
        findings.add_finished_run(inputs, ctx)
        return shared_inputs.form(inputs, "Build category tree", "Build")

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Build the tree, reporting progress.

        Yields:
            Messages to the App.
        """
        from fiftyone_deepcluster.dataset.results.categories import build_tree

        key = shared_inputs.key_of(ctx)

        def work(observer: Observer) -> str:
            nodes = build_tree(ctx.dataset, key, observer=observer)
            groups = sum(not node.leaf for node in nodes)
            if not groups:
                return f"the network confuses no clusters more than others: the {len(nodes)} clusters form no groups"
            return (
                f"{len(nodes) - groups} clusters in {groups} groups; filter by {key}_category in the sidebar"
            )

        yield from analyze_and_show(ctx, key, "grouping the clusters of", work)
        yield ctx.ops.reload_dataset()
