"""Input of the fields with vectors: one field, or several that are joined."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bson import json_util
from fiftyone.operators import execution_cache, types

from fiftyone_deepcluster.app.estimate import count_images
from fiftyone_deepcluster.app.operators import fields, shared_inputs, values
from fiftyone_deepcluster.core.words import part_of
from fiftyone_deepcluster.errors import DeepClusterError

if TYPE_CHECKING:
    import fiftyone as fo
    import fiftyone.operators as foo

VECTORS = "embeddings_field"
"""Name of the parameter."""

JOINED = "Vectors of several fields are each scaled to length 1 and joined: all fields have the same weight."
"""What a run does with several fields."""

_MOST_READ = 5_000


def add_vectors(
    inputs: types.Object,
    ctx: foo.ExecutionContext,
    samples: fo.core.collections.SampleCollection,
    patches_field: str | None = None,
    *,
    none: str,
    without: str = "left out",
    single: bool = False,
    **about: Any,
) -> None:
    """Add a selector of fields with vectors: several can be chosen if there are several.

    The vectors of the chosen fields are read while the form is open, as the run will read them: what the run would
    refuse is shown at the input, and images without a vector are counted. Those of objects are not read.

    Args:
        inputs: form to add the input to.
        ctx: context of the operator; its parameter gets the type that the input has.
        samples: the images, or images with objects.
        patches_field: Detections field whose objects are the images, or None for whole images.
        none: label of the empty choice of a single field.
        without: what happens to images without a vector.
        single: refuse a field with several vectors for each image.
        about: label and description of the input.
    """
    known = fields.vector_fields(ctx.dataset, patches_field)
    ctx.params.update(shown_vectors(ctx.params, known))
    if len(known) < 2:
        shared_inputs.add_choice(inputs, VECTORS, known, none=none, **about)
    else:
        several = types.DropdownView(multiple=True, allow_user_input=False)
        for name in known:
            several.add_choice(name, label=name)
        inputs.list(VECTORS, types.String(), view=several, **about)
    chosen = values.one_or_more(ctx.params, VECTORS)
    if chosen is not None and patches_field is None:
        read = _read if ctx.prompt_id else _read.uncached
        _add_findings(inputs, read(ctx, samples, chosen, single), without)


def shown_vectors(params: values.Params, known: list[str]) -> values.Params:
    """The parameter in the type that the input has: a list if there are several fields; empty if it is not given.

    Args:
        params: parameters of a form or a script.
        known: the fields that the form offers.
    """
    given = values.one_or_more(params, VECTORS)
    if given is None:
        return {}
    return {VECTORS: [given] if len(known) > 1 and isinstance(given, str) else given}


def shown_again(params: values.Params, dataset: fo.Dataset) -> values.Params:
    """Parameters of a form that is opened again, when the dataset may have got fields with vectors."""
    where = params.get("patches_field") or params.get("label_field")
    known = fields.vector_fields(dataset, where if where in fields.object_fields(dataset) else None)
    return {**params, **shown_vectors(params, known)}


def _add_findings(inputs: types.Object, found: dict[str, str], without: str) -> None:
    """Show what the vectors lack, at the input or below it."""
    if found["error"]:
        shared_inputs.complain(inputs, VECTORS, found["error"])
    elif found["missing"]:
        inputs.view(
            "no_vectors",
            types.Warning(label=f"{found['missing']}: {without}", description=found["reasons"]),
        )


def _choice(
    ctx: foo.ExecutionContext,
    samples: fo.core.collections.SampleCollection,
    chosen: str | list[str],
    single: bool,
) -> tuple[str, str]:
    stages = samples.view()._serialize(include_uuids=False)
    return json_util.dumps([str(ctx.dataset._doc.id), stages]), json.dumps([chosen, single])


@execution_cache(  # type: ignore[untyped-decorator]
    prompt_scoped=True, residency="ephemeral", key_fn=_choice
)
def _read(
    ctx: foo.ExecutionContext,
    samples: fo.core.collections.SampleCollection,
    chosen: str | list[str],
    single: bool,
) -> dict[str, str]:
    """Error of the fields with vectors, and the number of images without a vector; once for a form and choice."""
    from fiftyone_deepcluster.dataset.io.vectors import missing_vectors

    found = {"error": "", "missing": "", "reasons": ""}
    try:
        missing = missing_vectors(samples, chosen, _MOST_READ, single=single)
    except DeepClusterError as error:
        return {**found, "error": str(error)}
    if missing:
        n = count_images(samples, None)
        found["missing"] = part_of(missing.total(), n, "image", "has no vector", "have no vector")
        found["reasons"] = "; ".join(f"{reason}: {n:,}" for reason, n in missing.items())
    return found
