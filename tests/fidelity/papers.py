"""Shared by the tests of this folder: properties of images, and options as plain values."""

from __future__ import annotations

import sklearn.datasets  # noqa: F401 - draws from Python's generator when a fixture is the first to import it

from fiftyone_deepcluster.images.inspect import ImageFacts


def facts(n: int = 1_281_167, side: int = 500, *, gray: bool = False) -> ImageFacts:
    """Properties of ``n`` square images of ``side`` pixels."""
    return ImageFacts(n=n, side=side, gray=gray, height=side, width=side)


def plain_values(options: object) -> dict:
    """Options as JSON, parts without values that are their defaults."""
    return {
        name: {"name": value.name, **value.model_dump(mode="json", exclude_defaults=True)}
        if hasattr(value, "model_dump")
        else value
        for name, value in options
    }
