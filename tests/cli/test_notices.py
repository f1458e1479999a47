"""What FiftyOne prints among the output of a command."""

from __future__ import annotations

import logging

from fiftyone_deepcluster.cli.notices import hide_version_notice


def test_a_command_prints_no_notice_about_a_supported_version_of_the_database(call):
    done = call("cluster", "no-such-dataset", FIFTYONE_DATABASE_VALIDATION="true")
    assert done.stdout == ""
    assert done.stderr.startswith("error: 'no-such-dataset' is neither a FiftyOne dataset nor a folder; ")


def test_other_warnings_about_the_database_are_shown(caplog):
    hide_version_notice()
    hide_version_notice()
    logger = logging.getLogger("fiftyone.core.odm.database")
    with caplog.at_level("WARNING", logger.name):
        logger.warning("You are running the oldest supported major version of MongoDB. Please refer to ...")
        logger.warning("Your MongoDB feature compatibility is greater than your server version.")
        logger.error("Operation failed while updating database's feature compatibility version - %s.", "why")
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
