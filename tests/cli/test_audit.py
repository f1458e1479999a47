"""The command ``audit``."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
from sklearn.datasets import load_digits


def test_labels_are_audited_and_files_are_written(invoke, make_digits, tmp_path):
    dataset = make_digits(200, persistent=True)
    dataset.add_sample_field("pixels", fo.VectorField)
    dataset.set_values("pixels", list(load_digits().data[:200].astype(np.float32)))
    labels = dataset.values("ground_truth.label")
    dataset.set_values(
        "ground_truth.label", [str((int(label) + 3) % 10) for label in labels[:10]] + labels[10:]
    )
    table, html = tmp_path / "labels.csv", tmp_path / "audit.html"
    call = ("audit", dataset.name, "ground_truth", "--embeddings-field", "pixels")

    done = invoke(*call, "--table", str(table), "--html", str(html))

    assert done.exit_code == 0, done.output
    assert "200 labels audited" in done.output
    assert "taken for" in done.output
    assert table.read_text().count("\n") == 201
    assert html.read_text().startswith("<!doctype html>")
    again = invoke(*call)
    assert again.exit_code == 1
    assert "--overwrite to replace it" in " ".join(again.output.split())
    assert invoke(*call, "--overwrite").exit_code == 0
    wrong = invoke("audit", dataset.name, "no_field", "--overwrite")
    assert "label_field='no_field' is not a field" in " ".join(wrong.output.split())
