"""The worker with a real queue: operations that succeed, fail or are interrupted."""

import os
import signal
import subprocess
import sys
import time

import pytest

_PLUGIN = """
name: "@tests/jobs"
fiftyone: {version: "*"}
operators: [succeed, fail, sleep]
"""
_OPERATORS = """
import time
import fiftyone.operators as foo

class Job(foo.Operator):
    @property
    def config(self):
        return foo.OperatorConfig(
            name=type(self).__name__.lower(), allow_delegated_execution=True, execute_as_generator=True
        )

class Succeed(Job):
    def execute(self, ctx):
        ctx.dataset.info["worked"] = True
        ctx.dataset.save()
        yield

class Fail(Job):
    def execute(self, ctx):
        yield
        raise ValueError("no such cheese")

class Sleep(Job):
    def execute(self, ctx):
        yield
        time.sleep(600)

def register(p):
    for job in (Succeed, Fail, Sleep):
        p.register(job)
"""
_QUEUE = """
import sys
import fiftyone.operators as foo
import fiftyone as fo
for name in sys.argv[2:]:
    result = foo.execute_operator(
        f"@tests/jobs/{name}", dataset=fo.load_dataset(sys.argv[1]), request_delegation=True
    )
    result.raise_exceptions()
"""


@pytest.fixture
def queue(make_digits, tmp_path, monkeypatch):
    """Function that queues jobs by name; returns the dataset and a function that reads the jobs' states."""
    from fiftyone.operators.delegated import DelegatedOperationService

    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "fiftyone.yml").write_text(_PLUGIN)
    (folder / "__init__.py").write_text(_OPERATORS)
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(tmp_path))
    dataset = make_digits(3, persistent=True)
    service = DelegatedOperationService()

    def put(*names):
        subprocess.run([sys.executable, "-c", _QUEUE, dataset.name, *names], check=True)

        def states():
            operations = service.list_operations(dataset_name=dataset.name)
            return {operation.operator.rsplit("/", 1)[1]: operation for operation in operations}

        return dataset, states

    yield put
    for operation in service.list_operations(dataset_name=dataset.name):
        service.delete_operation(operation.id)


@pytest.mark.slow
def test_queued_operations_are_carried_out_and_a_failure_stops_nothing(queue, call):
    dataset, states = queue("fail", "succeed")

    done = call("worker", "--once")

    assert done.returncode == 0, done.stderr
    assert {name: operation.run_state for name, operation in states().items()} == {
        "succeed": "completed",
        "fail": "failed",
    }
    assert "no such cheese" in done.stdout
    assert "2 operations executed" in done.stdout
    dataset.reload()
    assert dataset.info["worked"]


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_leaves_nothing_running(queue):
    _, states = queue("sleep")
    worker = subprocess.Popen(
        [sys.executable, "-m", "fiftyone_deepcluster.cli", "worker", "--poll", "0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ.copy(),
    )  # fmt: skip
    try:
        _wait_until(lambda: states()["sleep"].run_state == "running", worker)
        time.sleep(0.5)  # until the operation itself runs
        worker.send_signal(signal.SIGINT)
        output, _ = worker.communicate()
    finally:
        worker.kill()

    assert worker.returncode == 0
    assert states()["sleep"].run_state == "failed"
    assert "stopped" in output
    assert "Traceback" not in output


def _wait_until(true, process, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.1)
