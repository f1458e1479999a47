"""Commands ``cluster``, ``install`` and ``open`` on real datasets."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

import fiftyone_deepcluster
from fiftyone_deepcluster.cli.launch import ADDRESS, _stop, free_port, serving

# pixels without training, no map: these tests check the command, not the method
_QUICK = (
    "--method",
    "frozen",
    "--n-clusters",
    "4",
    "--option",
    "baselines=false",
    "--option",
    "compute_brain=false",
)


def test_version(invoke):
    assert invoke("--version").output.strip() == fiftyone_deepcluster.__version__


def test_a_dataset_is_clustered_and_the_tables_are_printed(invoke, make_digits):
    dataset = make_digits(60, persistent=True)

    done = invoke("cluster", dataset.name, "--key", "quick", "--truth-field", "ground_truth", *_QUICK)

    assert done.exit_code == 0, done.output
    assert "cluster-00" in done.output
    assert "ACC*" in done.output
    dataset.reload()
    assert set(dataset.distinct("quick.label")) == {f"cluster-0{i}" for i in range(4)}

    again = invoke("cluster", dataset.name, "--key", "quick", *_QUICK)
    assert again.exit_code == 1
    assert "quick" in again.output
    assert "--overwrite to replace it" in " ".join(again.output.split())
    assert "Traceback" not in again.output
    assert invoke("cluster", dataset.name, "--key", "quick", "--overwrite", *_QUICK).exit_code == 0


def test_a_reviewed_run_is_refined_and_both_are_compared(invoke, make_digits):
    dataset = make_digits(60, persistent=True)
    assert invoke("cluster", dataset.name, *_QUICK).exit_code == 0
    nothing = invoke("refine", dataset.name)
    assert nothing.exit_code == 1
    assert "nothing of run 'dc' was reviewed" in " ".join(nothing.output.split())
    dataset.reload()
    edits = fiftyone_deepcluster.review(dataset, "dc")
    edits.rename("cluster-00", "first")
    edits.mark_reviewed(["first"])
    done = invoke("refine", dataset.name, "--new-key", "better", "--option", "compute_brain=false")
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "reviewed images kept their cluster" in text
    assert "dc and better agree to NMI" in text
    assert "each shares at least 80% with the other" in text
    dataset.reload()
    assert "first" in dataset.distinct("better.label")


def test_several_fields_with_vectors_are_clustered(invoke, make_digits):
    dataset = make_digits(60, persistent=True)
    for name, size in (("one", 3), ("two", 4)):
        dataset.set_values(name, [[float(row % 4 == at) + 0.1 for at in range(size)] for row in range(60)])
    one, two = ("--embeddings-field", "one"), ("--embeddings-field", "two")
    assert invoke("cluster", dataset.name, "--key", "both", *one, *two, *_QUICK).exit_code == 0
    assert invoke("cluster", dataset.name, "--key", "single", *two, *_QUICK).exit_code == 0
    dataset.reload()
    used = [
        fiftyone_deepcluster.load_run(dataset, key).settings["embeddings_field"] for key in ("both", "single")
    ]
    assert used == [["one", "two"], "two"]


def test_a_saved_view_is_clustered_alone(invoke, make_digits):
    dataset = make_digits(60, persistent=True)
    dataset.save_view("first", dataset.limit(30))

    done = invoke("cluster", dataset.name, "--key", "part", "--view", "first", *_QUICK)

    assert done.exit_code == 0, done.output
    dataset.reload()
    assert dataset.count("part.label") == 30


def test_a_folder_becomes_a_lasting_dataset_of_its_name(invoke, fiftyone_home, digits_dir, tmp_path):
    import fiftyone as fo

    folder = tmp_path / f"folder-{tmp_path.name}"
    folder.mkdir()
    for file in sorted(digits_dir.iterdir())[:40]:
        (folder / file.name).write_bytes(file.read_bytes())
    try:
        for words in (["--key", "one"], ["--key", "two"]):
            done = invoke("cluster", str(folder), *words, *_QUICK)
            assert done.exit_code == 0, done.output
            last = done.stdout.splitlines()[-1]
            assert last == (
                f"Run {words[1]} of dataset {folder.name}. To look at it: fiftyone-deepcluster open {folder.name}"
            )
        other = tmp_path / "other" / folder.name
        other.mkdir(parents=True)
        refused = invoke("cluster", str(other), *_QUICK)
        assert refused.exit_code == 1
        assert f"but with other images than {other}; give the dataset's name" in refused.output
        assert "delete" not in refused.output, "the dataset may have reviews"
        dataset = fo.load_dataset(folder.name)
        assert dataset.persistent
        assert len(dataset) == 40
        assert fiftyone_deepcluster.list_runs(dataset) == ["one", "two"]
    finally:
        fo.delete_dataset(folder.name)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no-such-dataset"], "neither a FiftyOne dataset nor a folder; "),
        ([""], "neither a FiftyOne dataset nor a folder"),
        (["x" * 300], "neither a FiftyOne dataset nor a folder"),
        (["DATASET", "--view", "nowhere"], "no saved view 'nowhere'"),
        (["DATASET", "--method", "magic"], "there is no 'magic'"),
        (["DATASET", "--method", "frozen", "--option", "speed=3"], "no option 'speed'"),
        (["DATASET", "--option", "rounds"], "is not name=value"),
        (["DATASET", "--key", "not a name"], "not a name"),
        (["DATASET", "--resume", "--key", "never"], "never"),
    ],
)
def test_errors_are_printed_in_one_line(words, says, invoke, make_digits):
    dataset = make_digits(20, persistent=True)

    done = invoke("cluster", *[dataset.name if word == "DATASET" else word for word in words])

    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output
    assert not dataset.list_runs()


@pytest.mark.slow
def test_install_and_uninstall_say_where(call, tmp_path):
    for words, says in ((["install"], "registered at"), (["install", "--uninstall"], "removed from")):
        done = call(*words, FIFTYONE_PLUGINS_DIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert says in done.stdout
        assert str(tmp_path) in done.stdout


def test_the_apps_server_is_waited_for_and_gets_no_secret(fiftyone_home, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "secret")
    port = free_port(20_000)
    with serving(port) as url, urllib.request.urlopen(f"{url}/fiftyone") as answer:
        assert json.loads(answer.read())["version"]
        (server,) = [child for child in psutil.Process().children() if str(port) in child.cmdline()]
        assert server.environ()["FIFTYONE_DATABASE_URI"] == fiftyone_home.uri
        assert "MY_SECRET" not in server.environ()
    assert free_port(port) == port


def test_a_server_that_does_not_end_by_itself_is_killed():
    words = (
        "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"up\n"
        _stop(server)
        assert server.returncode == -signal.SIGKILL


def test_a_port_in_use_is_passed_over():
    with socket.socket() as busy:
        busy.bind((ADDRESS, 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert free_port(port) > port


def test_opening_a_dataset_that_is_not_there_is_said_in_one_line(invoke):
    done = invoke("open", "no-such-dataset")

    assert done.exit_code == 1
    assert "fiftyone datasets list" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["terminated", "hung up"])
def test_a_command_that_is_stopped_closes_the_apps_server(fiftyone_home, make_digits, number):
    dataset, port = make_digits(5, persistent=True), free_port(20_100)
    words = [sys.executable, "-m", "fiftyone_deepcluster.cli", "open", dataset.name, "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as command:
        servers = []
        while command.poll() is None and not _listening(servers, port):
            time.sleep(0.2)
            children = psutil.Process(command.pid).children(recursive=True)
            servers = [child for child in children if "fiftyone.server.main" in " ".join(child.cmdline())]
        assert command.poll() is None, command.stdout.read()
        command.send_signal(number)
        command.wait(60)
        gone, alive = psutil.wait_procs(servers, timeout=30)
        assert (len(gone) > 0, alive) == (True, [])


def _listening(servers, port):
    return any(each.laddr.port == port for server in servers for each in server.net_connections("tcp"))
