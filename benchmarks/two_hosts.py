"""One run on two hosts, which are two network namespaces of this machine, started by ``accelerate launch``.

    sudo python -m benchmarks.two_hosts [--images 1000 --rounds 3]

1. Two hosts with a process each, and one process alone, cluster scikit-learn's digits: do the hosts agree, and with the
   one process? 2. The process of the second host is killed in its second round: what do the others print, and how soon?
   3. One process alone resumes what they left.

Needs Linux, root (``ip netns``), and a run folder that both see, as the checkpoint is read by all. Exits with 1 where
an answer is not what docs/scale.md says.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = ("deepcluster-a", "deepcluster-b")
ADDRESSES = ("10.231.77.1", "10.231.77.2")
PORT = 29_517
_LONGEST = 600


def main() -> None:
    """Ask the three questions."""
    arguments = _arguments()
    if arguments.job is not None:
        _job(arguments)
        return
    with tempfile.TemporaryDirectory(prefix="deepcluster-hosts-") as name, _network():
        folder = Path(name)
        together = _on_hosts(folder / "two", arguments)
        alone = _alone(folder / "one", arguments)
        good = _compare(together, alone)
        good &= _one_dies(folder / "dies", arguments)
    sys.exit(0 if good else 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die", type=int, default=-1, help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def _network() -> Iterator[None]:
    """Two namespaces, connected by a virtual network cable."""
    names = ("dcveth-a", "dcveth-b")
    try:
        for host in HOSTS:
            _ip("netns", "add", host)
        _ip(
            "link",
            "add",
            names[0],
            "netns",
            HOSTS[0],
            "type",
            "veth",
            "peer",
            "name",
            names[1],
            "netns",
            HOSTS[1],
        )
        for host, name, address in zip(HOSTS, names, ADDRESSES, strict=True):
            _ip("-n", host, "addr", "add", f"{address}/24", "dev", name)
            _ip("-n", host, "link", "set", name, "up")
            _ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "delete", host], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _launch(host: int, folder: Path, arguments: argparse.Namespace, die: int = -1) -> subprocess.Popen[str]:
    """``accelerate launch`` on one of two hosts; on a CPU, --multi_gpu only selects torchrun."""
    command = [
        "ip",
        "netns",
        "exec",
        HOSTS[host],
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
    ]
    command += ["--num_machines", "2", "--num_processes", "2", "--machine_rank", str(host), "--same_network"]
    command += [
        "--main_process_ip",
        ADDRESSES[0],
        "--main_process_port",
        str(PORT),
        "--mixed_precision",
        "no",
    ]
    command += ["--dynamo_backend", "no", "-m", *_job_words(folder, arguments, die)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["GLOO_SOCKET_IFNAME"] = f"dcveth-{'ab'[host]}"
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _job_words(folder: Path, arguments: argparse.Namespace, die: int) -> list[str]:
    words = ["benchmarks.two_hosts", "--job", str(folder), "--images", str(arguments.images)]
    return [*words, "--rounds", str(arguments.rounds), "--die", str(die)]


def _on_hosts(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    jobs = [_launch(host, folder, arguments) for host in (0, 1)]
    printed = [job.communicate(timeout=_LONGEST)[0] for job in jobs]
    for job, text in zip(jobs, printed, strict=True):
        if job.returncode:
            raise SystemExit(text[-4000:])
    return [_found(text) for text in printed]


def _alone(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", *_job_words(folder, arguments, -1)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return _found(done.stdout)


def _found(text: str) -> dict[str, Any]:
    line = next(line for line in text.splitlines() if line.startswith("{"))
    return json.loads(line)


def _compare(together: list[dict[str, Any]], alone: dict[str, Any]) -> bool:
    from fiftyone_deepcluster.metrics.agreement import agreement

    equal = together[0]["labels"] == together[1]["labels"]
    with_one = agreement(together[0]["labels"], alone["labels"])
    print(f"processes: {together[0]['processes']} and {alone['processes']}")
    print(f"both hosts have the same clusters: {equal}")
    print(f"agreement with one process: ARI {with_one.ari:.3f}, NMI {with_one.nmi:.3f}")
    print(
        f"NMI to the classes: two hosts {together[0]['nmi']:.3f}, one process {alone['nmi']:.3f}", flush=True
    )
    return equal


def _one_dies(folder: Path, arguments: argparse.Namespace) -> bool:
    jobs = [_launch(host, folder, arguments, die=1) for host in (0, 1)]
    began = time.perf_counter()
    jobs[1].wait(_LONGEST)
    died = time.perf_counter()
    try:
        text = jobs[0].communicate(timeout=_LONGEST)[0]
    except subprocess.TimeoutExpired:
        jobs[0].kill()
        print(f"the first host was still waiting {_LONGEST} s after the second died")
        return False
    later = time.perf_counter() - died
    print(
        f"a process died after {died - began:.0f} s; the other host ended {later:.0f} s later, with code "
        f"{jobs[0].returncode}"
    )
    words = [line for line in text.splitlines() if "Error" in line and "deepcluster" in line]
    print("it printed: " + (words[-1] if words else "\n".join(text.splitlines()[-5:])))
    resumed = _alone(folder, arguments)
    print(
        f"resumed by one process: rounds {resumed['rounds']}, of which {resumed['kept']} were kept",
        flush=True,
    )
    return jobs[0].returncode != 0 and resumed["rounds"] == arguments.rounds and resumed["kept"] >= 1


def _job(arguments: argparse.Namespace) -> None:
    """What each process does: cluster, and print the clusters once for each host."""
    import numpy as np
    from accelerate import PartialState
    from sklearn.datasets import load_digits

    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.core.progress import Silent
    from fiftyone_deepcluster.metrics.agreement import agreement

    state = PartialState(cpu=True)
    done: list[int] = []

    class Dies(Silent):
        """Kills the last process after a number of rounds, in the training of the next."""

        def round_done(self, entry: fdc.Round, rounds: int) -> None:
            done.append(entry.index)

        def advance(self, steps: int) -> None:
            if len(done) == arguments.die and state.process_index == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    data = load_digits()
    images = (data.images[: arguments.images] * 15.9375).astype(np.uint8)
    options = fdc.DeepCluster(
        n_clusters=10, rounds=arguments.rounds, baselines=False, image_size=16, batch_size=64, device="cpu"
    )
    result = fdc.fit(images, options, run_dir=arguments.job, observer=Dies())
    found = {
        "processes": state.num_processes,
        "labels": result.labels.tolist(),
        "rounds": len(result.record.rounds),
        "kept": len(result.record.rounds) - len(done),
        "nmi": agreement(result.labels, data.target[: arguments.images]).nmi,
    }
    print(json.dumps(found), flush=True)
    if state.num_processes > 1:
        state.destroy_process_group()


if __name__ == "__main__":
    main()
