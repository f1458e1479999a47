"""Registration with FiftyOne: link to a checkout, and stub of an installed wheel."""

import shutil
from pathlib import Path

import pytest
import yaml

from fiftyone_deepcluster.cli.plugin import (
    PLUGIN_NAME,
    PluginError,
    PluginSource,
    find_source,
    install_plugin,
    uninstall_plugin,
)

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def wheel_source(tmp_path):
    """Data files of a wheel: fiftyone.yml and the skills, without the package around them."""
    folder = tmp_path / "share"
    folder.mkdir()
    shutil.copy(REPOSITORY / "fiftyone.yml", folder)
    for name in ("skills", "dist"):
        shutil.copytree(REPOSITORY / name, folder / name)
    return PluginSource(folder, is_checkout=False)


def test_the_name_is_the_one_in_fiftyone_yml():
    assert yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text())["name"] == PLUGIN_NAME


def test_a_checkout_is_found_beside_the_package():
    assert find_source() == PluginSource(REPOSITORY, is_checkout=True)


def test_a_checkout_is_linked_and_linking_again_changes_nothing(tmp_path):
    place = install_plugin(tmp_path)

    assert place.is_symlink()
    assert place.resolve() == REPOSITORY
    assert install_plugin(tmp_path) == place


def test_a_plugins_folder_that_is_the_checkout_needs_no_link():
    assert install_plugin(REPOSITORY) == REPOSITORY
    assert not (REPOSITORY / PLUGIN_NAME).exists()


def test_a_wheel_gets_a_stub_that_says_the_same_as_fiftyone_yml(tmp_path, wheel_source):
    place = install_plugin(tmp_path / "plugins", wheel_source)
    stub = yaml.safe_load((place / "fiftyone.yml").read_text())
    original = yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text())

    assert stub.pop("py_entry") == "__init__.py"
    original.pop("py_entry")
    assert stub == original
    assert (place / "skills" / "deep-clustering" / "SKILL.md").is_file()
    assert (place / "dist" / "index.umd.js").is_file()
    assert "fiftyone_deepcluster.app.entry import register" in (place / "__init__.py").read_text()


def test_a_stub_is_replaced_by_a_newer_one(tmp_path, wheel_source):
    place = install_plugin(tmp_path / "plugins", wheel_source)
    (place / "fiftyone.yml").write_text("name: old")

    install_plugin(tmp_path / "plugins", wheel_source)

    assert yaml.safe_load((place / "fiftyone.yml").read_text())["name"] == PLUGIN_NAME


def test_a_checkout_takes_the_place_of_a_stub(tmp_path, wheel_source):
    install_plugin(tmp_path / "plugins", wheel_source)

    assert install_plugin(tmp_path / "plugins").is_symlink()


def test_a_link_to_a_checkout_that_is_gone_is_replaced(tmp_path):
    place = tmp_path / PLUGIN_NAME
    place.parent.mkdir()
    place.symlink_to(tmp_path / "gone")

    assert install_plugin(tmp_path).resolve() == REPOSITORY


def test_what_somebody_else_put_there_stays(tmp_path):
    place = tmp_path / PLUGIN_NAME
    place.mkdir(parents=True)
    (place / "fiftyone.yml").write_text(f'name: "{PLUGIN_NAME}"')

    for action in (install_plugin, uninstall_plugin):
        with pytest.raises(PluginError, match="is not changed"):
            action(tmp_path)
    assert (place / "fiftyone.yml").is_file()


def test_uninstalling_removes_the_link_and_not_the_checkout(tmp_path):
    place = install_plugin(tmp_path)

    assert uninstall_plugin(tmp_path)
    assert not place.exists()
    assert (REPOSITORY / "fiftyone.yml").is_file()
    assert not uninstall_plugin(tmp_path)


def test_uninstalling_removes_the_stub(tmp_path, wheel_source):
    place = install_plugin(tmp_path / "plugins", wheel_source)

    assert uninstall_plugin(tmp_path / "plugins")
    assert not place.exists()


def test_a_checkout_gets_a_stub_where_its_user_may_make_no_links(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    place = install_plugin(tmp_path)

    assert yaml.safe_load((place / "fiftyone.yml").read_text())["py_entry"] == "__init__.py"
    assert install_plugin(tmp_path) == place
    assert uninstall_plugin(tmp_path)
