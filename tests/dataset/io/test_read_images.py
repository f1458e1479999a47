"""Collections are read as images, or rejected before any work."""

from __future__ import annotations

import shutil

import pytest
from bson import ObjectId

from fiftyone_deepcluster.dataset.io.read_fields import read_truth
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.errors import ImagesError, InputError
from fiftyone_deepcluster.images.refs import ImageRef


def test_dataset_and_view_in_their_order(make_digits):
    dataset = make_digits(12)
    source = collect_images(dataset)
    assert source.ids == dataset.values("id") == source.sample_ids
    assert source.images == [ImageRef(path) for path in dataset.values("filepath")]
    assert source.patches_field is None
    view = dataset.sort_by("filepath", reverse=True).limit(5)
    assert collect_images(view).ids == dataset.values("id")[::-1][:5]
    assert collect_images(view).dataset is dataset


def test_chosen_images_in_the_order_of_their_ids(make_digits):
    dataset = make_digits(12)
    everything = collect_images(dataset)
    ids = [everything.ids[row] for row in (7, 2, 9)]
    source = collect_images(dataset, ids=[*ids[:2], str(ObjectId()), ids[2]])
    assert source.ids == source.sample_ids == source.samples.values("id") == ids
    assert source.images == [everything.images[row] for row in (7, 2, 9)]
    assert collect_images(dataset, ids=everything.ids).samples == dataset


def test_shuffled_view_joins_truth_by_id(make_digits):
    dataset = make_digits(50)
    source = collect_images(dataset.shuffle(seed=3))
    truth = dict(zip(dataset.values("id"), dataset.values("ground_truth.label"), strict=True))
    assert read_truth(source, "ground_truth") == [truth[name] for name in source.ids]


def test_patches_view_and_named_field_agree(boxed):
    view = boxed.to_patches("objects")
    from_view, by_name = collect_images(view), collect_images(boxed, "objects")
    assert from_view.ids == by_name.ids
    assert from_view.images == by_name.images
    assert from_view.patches_field == by_name.patches_field == "objects"
    assert len(from_view) == sum(row % 3 for row in range(10))
    assert from_view.images[0].box == (0, 0, 0.5, 1)
    assert set(from_view.sample_ids) <= set(boxed.values("id"))
    assert set(read_truth(from_view, "objects")) == {"half0", "half1"}


def test_patches_that_keep_their_lists_are_the_same_images(boxed):
    plain, lists = boxed.to_patches("objects"), boxed.to_patches("objects", keep_label_lists=True)
    assert collect_images(lists).images == collect_images(plain).images
    chosen = collect_images(lists.limit(5).sort_by("id", reverse=True))
    known = dict(zip(collect_images(plain).ids, collect_images(plain).images, strict=True))
    assert chosen.ids == sorted(plain.values("id")[:5], reverse=True)
    assert chosen.images == [known[name] for name in chosen.ids]
    assert set(read_truth(chosen, "objects")) == {"half0", "half1"}


def test_no_collection():
    with pytest.raises(ImagesError, match=r"samples is a list.*fit"):
        collect_images(["a.png"])


def test_empty_view(make_digits):
    with pytest.raises(ImagesError, match="no samples"):
        collect_images(make_digits(3).limit(3).match({"filepath": "nowhere"}))


def test_field_without_objects(make_digits):
    import fiftyone as fo

    dataset = make_digits(3)
    dataset.add_sample_field("objects", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    with pytest.raises(ImagesError, match="no objects in 'objects'"):
        collect_images(dataset, "objects")
    with pytest.raises(InputError, match=r"'ground_truth' is not a Detections field.*objects"):
        collect_images(dataset, "ground_truth")


def test_doubled_samples(make_digits):
    dataset = make_digits(3)
    with pytest.raises(ImagesError, match="more than once"):
        collect_images(dataset.concat(dataset.limit(1)))


def test_video_and_unknown_media(fiftyone_home):
    import fiftyone as fo

    videos = fo.Dataset()
    videos.add_sample(fo.Sample(filepath="/nowhere/a.mp4"))
    with pytest.raises(ImagesError, match="videos cannot be clustered"):
        collect_images(videos)
    texts = fo.Dataset()
    texts.add_samples([fo.Sample(filepath="/nowhere/a.dcm"), fo.Sample(filepath="/nowhere/b.xyz")])
    with pytest.raises(ImagesError, match=r"1 of 2 files is no image.*b\.xyz"):
        collect_images(texts)
    assert len(collect_images(texts.match({"filepath": "/nowhere/a.dcm"}))) == 1
    videos.delete()
    texts.delete()


def test_media_are_known_by_content(fiftyone_home, digits_dir, tmp_path):
    import fiftyone as fo
    from pydicom.data import get_testdata_file

    pictures = [tmp_path / f"{number:04x}abcdef" for number in range(20)]
    for source, target in zip(sorted(digits_dir.iterdir()), pictures, strict=False):
        shutil.copy(source, target)
    scan = shutil.copy(get_testdata_file("CT_small.dcm", download=False), tmp_path / "IM-0001")
    (tmp_path / "notes").write_text("no picture")
    dataset = fo.Dataset()
    dataset.add_samples(
        [fo.Sample(filepath=str(path)) for path in [*pictures, tmp_path / "notes"]], progress=False
    )
    assert dataset.media_type == "unknown"
    assert len(collect_images(dataset)) == 21
    dataset.clear()
    dataset.add_sample(fo.Sample(filepath=str(scan)))
    assert len(collect_images(dataset)) == 1
    dataset.clear()
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "notes")))
    with pytest.raises(ImagesError, match=r"notes: it is not an image.*add_dicom.*media_type='image'"):
        collect_images(dataset)
    dataset.delete()


def test_group_needs_slices(pairs_of, digits_dir):
    dataset = pairs_of(4)
    with pytest.raises(ImagesError, match=r"select_group_slices\('left'\).*left, right"):
        collect_images(dataset)
    assert [image.path for image in collect_images(dataset.select_group_slices("right")).images] == [
        str(file) for file in sorted(digits_dir.iterdir())[1:4:2]
    ]
    assert len(collect_images(dataset.select_group_slices(["left", "right"]))) == 4


def test_files_that_are_gone_are_no_error_here(make_digits, tmp_path):
    dataset = make_digits(3)
    copy = tmp_path / "gone.png"
    shutil.copy(dataset.first().filepath, copy)
    dataset.add_sample(type(dataset.first())(filepath=str(copy)))
    copy.unlink()
    assert len(collect_images(dataset)) == 4
