"""Clustering of imported DICOM files: the originals are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.errors import ImagesError, InputError
from fiftyone_deepcluster.images.refs import ImageRef
from tests.dataset.dicom.test_import_files import add


class TestClustering:
    def test_originals_are_read_by_default_and_their_frame(self, folder, dataset):
        add(folder, dataset)
        source = collect_images(dataset)
        expected = [
            ImageRef(path, frame=frame)
            for path, frame in zip(*dataset.values(["dicom_path", "dicom_frame"]), strict=True)
        ]
        assert source.images == expected
        pictures = collect_images(dataset, media_field="filepath")
        assert pictures.images == [ImageRef(path) for path in dataset.values("filepath")]
        view = dataset.sort_by("filepath").limit(5)
        assert [image.path for image in collect_images(view).images] == view.values("dicom_path")

    def test_mixed_with_plain_pictures(self, folder, dataset, digits_dir):
        import fiftyone as fo

        add(folder, dataset, frames="first")
        digit = str(next(iter(sorted(digits_dir.iterdir()))))
        dataset.add_sample(fo.Sample(filepath=digit))
        assert collect_images(dataset).images[-1] == ImageRef(digit)

    def test_patches_are_cut_from_the_originals(self, folder, dataset):
        import fiftyone as fo

        add(folder, dataset, frames="first")
        for sample in dataset:
            box = fo.Detection(label="left", bounding_box=[0, 0, 0.5, 1])
            sample["objects"] = fo.Detections(detections=[box])
            sample.save()
        source = collect_images(dataset, "objects")
        assert [image.path for image in source.images] == dataset.values("dicom_path")
        assert {image.box for image in source.images} == {(0, 0, 0.5, 1)}

    def test_missing_originals_are_an_error_with_the_way_out(self, folder, dataset):
        add(folder, dataset, frames="first")
        shutil.rmtree(folder)
        with pytest.raises(ImagesError, match="media_field='filepath'"):
            collect_images(dataset)
        assert len(collect_images(dataset, media_field="filepath")) == 8
        with pytest.raises(InputError, match="media_field='tags' is not a field"):
            collect_images(dataset, media_field="tags")

    def test_a_run_looks_at_the_originals(self, folder, dataset, monkeypatch):
        add(folder, dataset, frames="first")
        # were the PNG files looked at, nothing could be read
        for path in dataset.values("filepath"):
            Path(path).unlink()
        options = {"n_clusters": 2, "baselines": False, "progress": False, "compute_brain": False}
        run = fdc.cluster(dataset, "frozen", "dc", **options)
        assert (run.record.n_images, run.record.n_failed) == (8, 0)
        assert run.settings["media_field"] is None
        with pytest.raises(ImagesError):
            fdc.cluster(dataset, "frozen", "pictures", media_field="filepath", **options)
        assert fdc.assign(dataset, "dc") == 0
