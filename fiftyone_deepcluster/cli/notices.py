"""FiftyOne's notice about MongoDB's version, which it prints at each start to stdout, among the output of a command."""

from __future__ import annotations

import logging

_LOGGER = "fiftyone.core.odm.database"
_NOTICE = "You are running the oldest supported major version of MongoDB"


def hide_version_notice() -> None:
    """Hide the notice that MongoDB's version is supported, but the oldest one; warnings and errors are still shown.

    FiftyOne's own setting, ``database_validation``, would also hide that a version is not supported.
    """
    logging.getLogger(_LOGGER).addFilter(_is_no_notice)


def _is_no_notice(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NOTICE)
