"""The programs for figures and tables of the papers run on few digits, and print and write what they should."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import dac, table
from benchmarks.zips import extracted, gray_images
from tests.benchmarks.conftest import N, is_picture, mean_of, table_rows

QUICK = ["--option", "epochs=1", "--option", "min_steps=4"]


def shares(rows, *columns):
    """All numbers of some columns; each must be in 0..1."""
    found = [mean_of(row[column]) for row in rows for column in columns]
    assert all(0 <= value <= 1 for value in found), found
    return found


def test_article_draws_every_figure(run, npz, tmp_path):
    given = ["--npz", f"few={npz}", "--run", "run"]
    printed = run("article", "train", *given, *QUICK, "--option", "rounds=2", "--option", "n_clusters=4")
    rows = table_rows(printed)
    assert [(row["epoch"], int(row["clusters"]) > 1) for row in rows] == [("1", True), ("2", True)]
    assert len(set(shares(rows, "classes", "last epoch"))) > 1
    assert table_rows(run("article", "curves", *given)) == rows
    printed = run("article", "neighbors", *given, "--queries", 3, "--out", "near.png")
    assert [line.split(":")[0] for line in printed.splitlines()] == ["before", "after"]
    assert is_picture(tmp_path / "near.png")
    run("article", "filters", *given, "--units", 2, "--out", "conv1.png")
    assert is_picture(tmp_path / "conv1.png")
    printed = run("article", "probe", *given)
    accuracies = [line.split() for line in printed.strip().splitlines()]
    assert "layer" in accuracies[0]
    assert len(accuracies) > 3


def test_k_study_has_a_row_for_every_k_and_a_picture(run, npz, tmp_path, monkeypatch):
    parse = k_study_options(monkeypatch)
    printed = run("k_study", "--npz", f"few={npz}", "--clusters", 4, 8, "--rounds", 2, "--out", "study")
    rows = table_rows(printed)
    assert [row["k"] for row in rows] == ["4", "8"]
    shares(rows, "NMI to classes", "purity", "NMI to last round", "probe", "k-means ACC", "k-means NMI")
    assert is_picture(tmp_path / "study" / "few.png", least=300)
    assert [given["n_clusters"] for given in parse] == [4, 8]


def k_study_options(monkeypatch):
    """The options that the study gives to its runs, which are shortened."""
    from benchmarks import k_study

    asked, parse = [], k_study.parse_options

    def shortened(method, given):
        asked.append(given)
        return parse(method, {**given, "epochs": 1, "min_steps": 4})

    monkeypatch.setattr(k_study, "parse_options", shortened)
    return asked


@pytest.mark.parametrize("source", ["npz", "zip", "dicom"])
def test_cardiac_reads_arrays_pictures_and_dicom(run, npz, png_zip, dicom_zip, tmp_path, source):
    given = {
        "npz": ["--npz", f"few={npz}"], "zip": ["--zip", f"few={png_zip}"], "dicom": ["--zip", f"few={dicom_zip}"],
    }[source]  # fmt: skip
    printed = run("cardiac", *given, "--rounds", 2, *QUICK, "--picture", "rounds.png", "--run-dir", "runs")
    pixels, method = table_rows(printed)
    assert (pixels["method"], method["method"], method["rounds"]) == ("k-means on pixels", "cardiac-mr", "2")
    assert {row["images"] for row in (pixels, method)} == {f"few, {N}"}
    assert (pixels["classes"], pixels["k"]) == ("4", "32")
    assert min(shares([pixels, method], "purity", "NMI")) > 0.3
    assert is_picture(tmp_path / "rounds.png", least=300)
    printed = run("cardiac", *given, "--rounds", 3, *QUICK, "--run-dir", "runs")
    assert table_rows(printed)[1]["rounds"] == "3", "resumed, although the files have other paths"


def test_cardiac_leaves_out_images_of_some_classes(run, npz):
    printed = run("cardiac", "--npz", f"few={npz}", "--rounds", 1, *QUICK, "--imbalance", 10)
    assert table_rows(printed)[0]["images"] == "few, 53 (30 : 3)"


def test_dicom_of_a_zip_is_decoded_as_the_package_does(dicom_zip, small_digits):
    with extracted(dicom_zip) as (paths, classes):
        assert len(paths) == N
        assert np.array_equal(np.bincount(classes), [30] * 4)
    with pytest.raises(SystemExit, match=r"images of 4 sizes \(24 x 32, 32 x 32, .* resize them"):
        gray_images(dicom_zip)


def test_a_zip_without_images_is_refused(run, tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("manifest.csv", "file,class\n")
    for program, given in (("cardiac", "few="), ("ldpo_parts", "few="), ("ldpo_scenes", "")):
        what = ["lsc"] if program == "ldpo_parts" else []
        with pytest.raises(SystemExit, match=r"has no image among its 1 files; give a zip of CLASS/name"):
            run(program, *what, "--zip", f"{given}{tmp_path / 'empty.zip'}")


def scenes(run, png_zip, *rows, more=()):
    """What the program prints, and its runs."""
    printed = run(
        "ldpo_scenes", "--zip", png_zip, "--model", "resnet18", "--image-size", 32, "--seeds", 1, "--option",
        "rounds=1", *more, *(part for row in rows for part in ("--only", row)), "--out", "runs.jsonl",
    )  # fmt: skip
    return table_rows(printed)


@pytest.mark.slow
def test_ldpo_scenes_has_the_rows_of_table_3(run, png_zip, tmp_path):
    wanted = ["KM", "LSC", "AC", "EP", "MDPM", "LDPO-FC", "LDPO-PM"]
    mining = ["--mining", "mined_patches=500", "--option", "min_steps=2", "--option", "epochs=1"]
    rows = scenes(run, png_zip, *wanted, more=mining)
    assert [row["row"].split(" (")[0] for row in rows] == wanted
    assert all(row["paper: purity, NMI"] for row in rows)
    shares(rows, "purity", "ACC", "NMI", "SVM")
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [one["row"] for one in runs] == wanted
    assert all(one["k"] == 4 and one["images"] == N for one in runs)
    assert table_rows(run("ldpo_scenes", "--summary", "runs.jsonl")) == rows
    (mined,) = (one for one in runs if one["row"] == "LDPO-PM")
    assert mined["history"][-1]["mined_patches"] > 0


@pytest.mark.slow
def test_ldpo_scenes_has_the_rows_of_table_2(run, png_zip, tmp_path):
    wanted = ["LDPO-FC, RIM", "LDPO-VLAD, RIM", "LDPO-FV, RIM"]
    rows = scenes(run, png_zip, *wanted, more=["--option", "min_steps=2", "--option", "epochs=1"])
    assert len(rows) == 3
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    for one in runs:
        (entry,) = one["history"]
        assert {"k", "truth_purity", "truth_nmi", "test_top1"} <= set(entry)


def test_ldpo_parts_tries_lambdas_spectral_clustering_and_encodings(run, npz, png_zip):
    printed = run("ldpo_parts", "rim", "--npz", f"few={npz}", "--seeds", 1, "--start", 20)
    rows = table_rows(printed)
    assert [row["method"] for row in rows] == [
        "k-means, 50", *(f"RIM, mean length {n}" for n in (1, 3, 10, 30, 45, 70, 100, 200)), "RIM, path from 20",
    ]  # fmt: skip
    assert int(rows[1]["k"]) < int(rows[8]["k"]), "lambda = 1 depends on the length"
    printed = run("ldpo_parts", "lsc", "--npz", f"few={npz}", "--seeds", 2)
    rows = table_rows(printed)
    assert [row["method"] for row in rows][:2] == ["k-means", "LSC, 5 nearest"]
    assert min(shares(rows, "ACC", "NMI", "purity")) > 0.5
    encoders = ["pooled:pca=0", "vlad:words=8", "fisher:words=4"]
    asked = [part for one in encoders for part in ("--encoder", one)]
    printed = run(
        "ldpo_parts", "encodings", "--zip", f"few={png_zip}", "--model", "resnet18", "--seeds", 1, *asked
    )
    rows = table_rows(printed)
    assert [row["encoding"] for row in rows] == encoders
    assert rows[0]["dimensions"] == "512"


def test_table_does_not_repeat_runs_and_names_the_strongest_baseline(run, npz, tmp_path, monkeypatch):
    """With fixed features in place of the methods that are trained."""
    monkeypatch.setattr(table, "ON_PIXELS", ("frozen",))
    given = ["--npz", f"few={npz}", "--seeds", 2, "--out", "runs.jsonl"]
    (row,) = table_rows(run("table", *given))
    assert row["images"] == f"few ({N})"
    assert (
        "k-means on pixels: " in row["strongest frozen baseline"]
        or "UMAP" in row["strongest frozen baseline"]
    )
    assert row["frozen"].endswith("seeds: 2)")
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert {(one["row"], one["seed"]) for one in map(json.loads, lines)} >= {("frozen", 51), ("frozen", 52)}
    assert table_rows(run("table", *given)) == [row]
    assert (tmp_path / "runs.jsonl").read_text().splitlines() == lines
    assert table_rows(run("table", "--summary", "runs.jsonl")) == [row]


@pytest.mark.slow
def test_ucnn_compares_its_variants_from_the_same_weights(run, npz, monkeypatch):
    """Each in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    printed = run("ucnn", "--npz", f"few={npz}", "--seeds", 1, "--rounds", 1, "--option", "pixel_epochs=2")
    rows = table_rows(printed)
    assert [row["variant"] for row in rows] == ["start", "baseline-1", "baseline-2", "baseline-3", "proposed"]
    shares(rows, "NMI", "MI / max H", "ACC")
    assert all(mean_of(row["peak GB"]) > 0 for row in rows)


def test_dac_has_the_rows_of_its_tables_and_figures(run, npz):
    given = ["--npz", f"MNIST={npz}", "--seeds", 1, "--option", "rounds=1", "--option", "init=random"]
    rows = table_rows(run("dac", "table", *given, "--methods", "k-means,DAC*,DAC"))
    assert [row["method"] for row in rows] == ["k-means", "DAC*", "DAC"]
    shares(rows, "ACC", "NMI")
    assert rows[2]["paper (MNIST or CIFAR-10)"] == "0.978 / 0.935 / 0.949"
    rows = table_rows(run("dac", "features", *given))
    assert {"largest", "k-means"} <= {row["label features by"] for row in rows}
    rows = table_rows(run("dac", "histogram", *given))
    assert sum(
        float(rows[0][part]) for part in ("[0, .1)", "[.1, .5)", "[.5, .9)", "[.9, 1]")
    ) == pytest.approx(1, abs=0.01)
    for part, first in (("imbalance", "r = 0.1"), ("clusters", "2 classes"), ("samples", "20 images")):
        rows = table_rows(run("dac", part, *given, "--methods", "k-means"))
        assert rows[0]["images"] == f"MNIST, {first}"
        assert len(rows) >= 2
    assert set(dac.PARTS) == {"table", "features", "histogram", "imbalance", "clusters", "samples", "cost"}
