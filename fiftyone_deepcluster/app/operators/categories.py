"""Operators: key words of the clusters, and the category tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.analysis.texts import Rank
from fiftyone_deepcluster.app.operators import fields, findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.core import arguments

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import Job

_WORDS, _MOST_WORDS = 10, 100


class FindKeyWords(JobOperator):
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
            default = own if own in known else fields.likely_texts(known)
            shared_inputs.add_choice(
                inputs,
                "text_field",
                known,
                default=default,
                label="Text field",
                description="String field with the reports. Words are shown unfiltered: remove personal names first.",
            )
            shared_inputs.add_number(
                inputs, ctx, "n_words", _WORDS, (1, _MOST_WORDS), label="Words per cluster"
            )
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

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The count of the words."""
        rank = values.text(ctx.params, "rank") or get_args(Rank)[0]
        arguments.one_of("rank", rank, get_args(Rank))
        return findings.analysis(
            ctx,
            "find_key_words",
            text_field=values.text(ctx.params, "text_field"),
            n_words=values.number(ctx.params, "n_words", _WORDS, least=1, most=_MOST_WORDS),
            rank=rank,
        )


class BuildCategoryTree(JobOperator):
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

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The tree of a run."""
        return findings.analysis(ctx, "build_category_tree")
