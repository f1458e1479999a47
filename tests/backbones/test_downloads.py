"""Weights without the internet: an error within seconds that says how to go on, and cached weights, which are used."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import torch

from fiftyone_deepcluster.backbones.downloads import _answer, check_download, download_problem, problem_of
from fiftyone_deepcluster.errors import OptionsError
from tests.backbones.conftest import TINY

pytestmark = pytest.mark.usefixtures("seeded")

SCRIPT = """
import json, sys
from fiftyone_deepcluster.backbones.base import BACKBONES
import huggingface_hub, timm, torchvision, transformers
found = []
for part, weights in json.load(sys.stdin):
    try:
        BACKBONES.parse(part).build(3, 32, weights)
        message = ""
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    found.append(message)
assert not huggingface_hub.constants.HF_HUB_OFFLINE
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def silent():
    """Port of this computer that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def closed():
    """Port of this computer that refuses connections."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]  # bound, but it does not listen


@pytest.fixture
def built_without_internet(tmp_path, closed):
    """A function from (backbone, weights) pairs to the messages of errors, in a process whose proxy is away."""
    proxy = f"http://127.0.0.1:{closed}"
    names = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        **dict.fromkeys(names, proxy), "no_proxy": "", "NO_PROXY": "",
        "HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch"),
    }  # fmt: skip

    def build(*pairs):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=json.dumps(pairs), capture_output=True, text=True, env=environment, check=False, timeout=300,
        )  # fmt: skip
        assert not done.returncode, done.stderr
        assert "Retrying" not in done.stderr, "the libraries wait between their tries"
        return json.loads(done.stdout)

    return build


def test_without_internet_the_error_comes_at_once_and_names_the_ways_out(built_without_internet, tmp_path):
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    hub = re.escape(str(tmp_path / "hf" / "hub"))
    found = built_without_internet(
        ("resnet18", "IMAGENET1K_V1"),
        ({"name": "timm", "model": "resnet18"}, "pretrained"),
        ({"name": "timm", "model": "vit_huge_patch14_gap_224.in1k_ijepa"}, "pretrained"),
        ({"name": "timm", "model": "hf-hub:timm/resnet18.a1_in1k"}, None),
        ({"name": "transformers", "model": "facebook/dinov2-small"}, "pretrained"),
        ({"name": "transformers", "model": "facebook/dinov2-small"}, None),
    )
    cached = re.escape(str(tmp_path / "torch" / "hub" / "checkpoints"))
    expected = (
        rf"weights='IMAGENET1K_V1' of torchvision's .*resnet18-f37072fd\.pth .*its path as weights, .*'{cached}'",
        rf"weights of timm's model='resnet18' .*as weights, or copy 'models--timm--resnet18\.a1_in1k' .*'{hub}'",
        r"weights of timm's model='vit_huge_patch14_gap_224\.in1k_ijepa' .*IN1K-vit\.h\.14-300e\.pth\.tar .*as weights",
        r"configuration of timm's model='hf-hub:timm/resnet18\.a1_in1k' .*give 'local-dir:' and the path",
        rf"weights of model='facebook/dinov2-small' .*as model, or copy 'models--facebook--dinov2-small' .*'{hub}'",
        r"configuration of model='facebook/dinov2-small' .*as model",
    )
    for message, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(r"OptionsError: .*could not be downloaded from .*refused.*", message), message
        assert re.search(pattern, message), message


def test_weights_in_the_cache_are_used_without_internet(built_without_internet, tmp_path):
    timm = pytest.importorskip("timm")
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(resnet18(weights=None).state_dict(), checkpoints / "resnet18-f37072fd.pth")

    def snapshot(repository):
        folder = tmp_path / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0" * 40)
        made = folder / "snapshots" / ("0" * 40)
        made.mkdir(parents=True)
        return made

    save_file(
        timm.create_model("resnet18").state_dict(), snapshot("timm/resnet18.a1_in1k") / "model.safetensors"
    )
    own = snapshot("someone/vit")
    transformers.ViTModel(transformers.ViTConfig(**TINY)).save_pretrained(own)
    transformers.ViTImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(own)
    found = built_without_internet(
        ("resnet18", "IMAGENET1K_V1"),
        ({"name": "timm", "model": "resnet18"}, "pretrained"),
        ({"name": "transformers", "model": "someone/vit"}, "pretrained"),
    )
    assert found == ["", "", ""]


def test_a_host_that_never_answers_is_given_up(silent):
    request = urllib.request.Request(f"http://127.0.0.1:{silent}/file.pth", method="HEAD")
    start = time.perf_counter()
    assert problem_of(lambda: _answer(request), seconds=0.5) == "no answer within 0.5 seconds"
    assert time.perf_counter() - start < 5
    assert "refused" in problem_of(lambda: _raise(ConnectionRefusedError("refused")))
    assert problem_of(lambda: None) == ""


def _raise(error):
    raise error


def test_any_answer_of_a_host_is_one():
    """As a server that knows no HEAD, or refuses it."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/file.pth"
        assert problem_of(lambda: _answer(urllib.request.Request(address, method="HEAD"))) == ""


def test_a_broken_file_in_the_cache_is_named(monkeypatch, tmp_path):
    from fiftyone_deepcluster.backbones.base import BACKBONES

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a file")
    with pytest.raises(
        OptionsError, match=rf"{re.escape(str(cached))}' cannot be read .*delete it"
    ) as caught:
        BACKBONES.parse("resnet18").build(3, 32, "IMAGENET1K_V1")
    assert "could not be downloaded" not in str(caught.value)
    assert check_download("https://download.pytorch.org/models/resnet18-f37072fd.pth", "it") == cached


def test_a_load_with_the_hub_waits_for_one_without_it(monkeypatch):
    """The hub's offline mode is a setting of the process: the one does not fail because of the other."""
    constants = pytest.importorskip("huggingface_hub.constants")
    from threading import Event, Thread

    from fiftyone_deepcluster.backbones import downloads

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    problems, seen, inside, go_on = iter(["refused", ""]), [], Event(), Event()
    monkeypatch.setattr(downloads, "hub_problem", lambda: next(problems))

    def without():
        with downloads.hub_files("weights", "one/model", "give a path"):
            seen.append(constants.HF_HUB_OFFLINE)
            inside.set()
            go_on.wait(20)
            seen.append(constants.HF_HUB_OFFLINE)

    def with_it():
        with downloads.hub_files("weights", "other/model", "give a path"):
            seen.append(constants.HF_HUB_OFFLINE)

    first = Thread(target=without)
    first.start()
    assert inside.wait(20)
    second = Thread(target=with_it)
    second.start()
    second.join(0.3)
    assert second.is_alive(), "it waits"
    go_on.set()
    first.join(20)
    second.join(20)
    assert seen == [True, True, False]
    assert not constants.HF_HUB_OFFLINE


def test_an_offline_mode_that_the_user_set_is_named(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    from huggingface_hub.errors import OfflineModeIsEnabled

    from fiftyone_deepcluster.backbones.downloads import hub_files

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with (
        pytest.raises(OptionsError, match=r"weights could not be downloaded from .*HF_HUB_OFFLINE is set"),
        hub_files("weights", "one/model", "give a path"),
    ):
        raise OfflineModeIsEnabled
    assert constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("library", ["requests", "httpx", "urllib3", "urllib.request"])
def test_a_host_that_refuses_is_named_without_objects_of_the_connection(library, caplog):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/model.pt"
    if library == "urllib.request":
        ask = urllib.request.urlopen
    else:
        module = pytest.importorskip(library)
        ask = {"urllib3": lambda url: module.request("GET", url, retries=0)}.get(library) or module.get
    with pytest.raises(Exception, match=r".") as refused:
        ask(url)
    assert re.fullmatch(
        r"(127\.0\.0\.1|its host) cannot be reached: .*refused.*", download_problem(refused.value)
    )
    assert "a download failed" in caplog.text
    answered = urllib.error.HTTPError(url, 404, "Not Found", None, None)
    assert download_problem(answered) == "HTTP Error 404: Not Found"
