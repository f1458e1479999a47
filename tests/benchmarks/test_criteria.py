"""The program that measures the label-free criteria."""

from __future__ import annotations

import json

import pytest

from benchmarks.criteria import FACTORS, able, regret, regret_by
from tests.benchmarks.conftest import table_rows


def test_criteria_are_compared_with_acc_and_products_are_chosen_on_the_other_sets(run, npz, tmp_path):
    sets = ["--npz", f"few={npz}", "--npz", f"other={npz}"]
    run("criteria", "run", *sets, "--class-share", 0.75, "--images", 60, "--seeds", 1, "--out", "runs.jsonl")
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [(one["set"], one["n"], one["classes"]) for one in runs] == [("few", 60, 3), ("other", 60, 3)]
    (first, _) = runs
    candidates = able(first)
    assert len(candidates) >= 4
    root = {"information": 0.5, "others": 1.0, "balance": 1.0}
    powers = [root.get(factor, 0.0) for factor in FACTORS]
    assert regret_by(first, powers) == pytest.approx(regret(first)), "the product of the choice"
    best = max(candidates, key=lambda name: candidates[name]["accuracy"])
    assert regret_by(first, [float(factor == "accuracy") for factor in FACTORS]) == regret(first, best)
    printed = run("criteria", "table", "runs.jsonl")
    assert [row["set"] for row in table_rows(printed)] == ["few", "other"]
    tables = [[row["left out"] for row in table_rows(part)] for part in printed.split("\n\n")[1:2]]
    assert tables == [["few", "other", "mean"]]
    names = [row["criterion"] for row in table_rows(printed.split("\n\n")[0])]
    assert names[-2:] == ["always umap-kmeans", "the choice"]
