"""Parameters of "Cluster images": one parser for forms, scripts and delegated runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.forms import part_values
from fiftyone_deepcluster.app.operators import values
from fiftyone_deepcluster.app.option_fields import OptionField
from fiftyone_deepcluster.methods.base import METHODS, Options

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.run_files import ClusterJob

CALL_SETTINGS = ("truth_field", "patches_field", "media_field", "model")

_STORED = ("truth_field", "media_field", "embeddings_field", "model")
"""Settings that are stored with the run."""

HEADINGS = {
    "n_clusters": "Clusters",
    "weights": "Network",
    "backbone": "Network",
    "rounds": "Duration",
    "max_minutes": "Duration",
}
"""Headings of options in the form, by option; the other options are folded."""


@dataclass(frozen=True)
class ClusterCall:
    """Parsed parameters of a clustering call.

    Attributes:
        options: method and its options.
        given: name of the method and the options that were given, as JSON values.
        key: key of the run.
        overwrite: replace an existing run with this key.
        settings: further keyword arguments of ``cluster``; only those that are set.
    """

    options: Options
    given: dict[str, Any]
    key: str
    overwrite: bool
    settings: dict[str, Any]

    def on(self, samples: fo.core.collections.SampleCollection) -> Job:
        """The call of ``cluster`` on samples, as a job."""
        from fiftyone_deepcluster.dataset.background import Job

        options = {name: value for name, value in self.given.items() if name != "name"}
        arguments = {
            "method": self.options.name,
            "key": self.key,
            "overwrite": self.overwrite,
            **self.settings,
            **options,
        }
        return Job("cluster", samples, self.key, arguments, self.options.name, self.options.rounds)

    def planned(self, samples: fo.core.collections.SampleCollection) -> ClusterJob:
        """The job that the call stores, to compare it with that of an interrupted run.

        Raises:
            ImagesError, InputError: the images cannot be clustered.
        """
        from fiftyone_deepcluster.dataset.runs.checked_call import settings_of
        from fiftyone_deepcluster.dataset.runs.kept_rounds import planned_job

        given = {name: value for name, value in self.settings.items() if name in _STORED}
        patches_field = self.settings.get("patches_field")
        return planned_job(samples, self.options, settings_of(**given), patches_field)


def method_field() -> OptionField:
    """Description of the method input."""
    return OptionField(
        name="method",
        kind="part",
        label="Method",
        default="auto",
        parts=METHODS,
        groups=HEADINGS,
    )


def use_of_vectors(method: str) -> str:
    """What the method does with precomputed feature vectors, for the form; empty if it uses none."""
    options = METHODS.get(method) if method in METHODS.names() else Options
    if options.joins_vectors:
        return "Precomputed feature vectors that are clustered together with the features of the network."
    if options.accepts_features:
        return "Precomputed feature vectors to cluster; without a choice, the method computes them."
    return ""


def without_vector(method: str) -> str:
    """What the method does with images without such a vector, for the form."""
    return "clustered by the network only" if METHODS.get(method).joins_vectors else "left out"


def parse_call(params: dict[str, Any], dataset: fo.Dataset) -> ClusterCall:
    """Parse the parameters of "Cluster images".

    Args:
        params: parameters of the form or of ``execute_operator``; all are optional.
        dataset: used to find a free key if none is given.

    Raises:
        OptionsError: an unknown method or option, or a value out of range.
        InputError: a parameter of another type, or a key that no run can have.
    """
    from fiftyone_deepcluster.dataset.io.fields import check_key
    from fiftyone_deepcluster.dataset.runs.run import free_key

    key = values.name_or(params, "key", free_key(dataset))
    check_key(key)
    field = method_field()
    given = part_values(METHODS, values.nested(params, "method"), field.default)
    options = METHODS.parse(given)
    settings: dict[str, Any] = {
        name: value for name in CALL_SETTINGS if (value := values.text(params, name)) is not None
    }
    vectors = values.one_or_more(params, "embeddings_field")
    if vectors is not None:
        settings["embeddings_field"] = vectors
    settings["compute_brain"] = values.switch(params, "compute_brain", default=True)
    if not (options.accepts_features or options.joins_vectors):
        # the form keeps values entered for another method
        settings.pop("embeddings_field", None)
        settings.pop("model", None)
    return ClusterCall(
        options=options,
        given=given,
        key=key,
        overwrite=values.switch(params, "overwrite"),
        settings=settings,
    )
