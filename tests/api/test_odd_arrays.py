"""Arrays that NumPy would convert to something else: texts of digits, masked, complex and dates."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import ImagesError, InputError, OptionsError

DIGITS = load_digits()
N = 60
VECTORS, CLASSES = DIGITS.data[:N].astype(np.float32), DIGITS.target[:N]
IMAGES = (DIGITS.images[:N] * 15).astype(np.uint8)
OPTIONS = fdc.Frozen(n_clusters=4, baselines=False)


def masked(values, at=()):
    found = np.ma.masked_array(values, mask=False)
    for row in at:
        found[row] = np.ma.masked
    return found


ODD = {
    "texts": (VECTORS.astype(str), r"holds texts .*; give numbers \(float32\)"),
    "bytes": (VECTORS.astype("S8"), "holds texts"),
    "objects of text": (VECTORS.astype(str).astype(object), "holds texts"),
    "lists of text": (VECTORS.astype(str).tolist(), "holds texts"),
    "complex": (VECTORS + 1j, "is of type complex64; give real numbers"),
    "dates": (VECTORS.astype("datetime64[s]"), "is of type datetime64"),
    "masked": (masked(VECTORS, [3, 5]), "has 128 masked entries; leave these images out"),
    "one masked": (masked(VECTORS, [(3, 4)]), "has 1 masked entry; leave"),
    "rows that are masked": (list(masked(VECTORS, [3])), "has 64 masked entries"),
}


@pytest.mark.parametrize("kind", ODD)
def test_vectors_that_are_no_real_numbers_are_refused(kind):
    given, message = ODD[kind]
    with pytest.raises(OptionsError, match=f"^features {message}"):
        fdc.fit(None, OPTIONS, features=given)
    with pytest.raises(OptionsError, match=f"^features {message}"):
        fdc.fit(None, OPTIONS, features={"one": VECTORS, "two": given})
    with pytest.raises(InputError, match=f"^vectors {message}"):
        fdc.sweep_numbers(given, [2, 3])
    joins = fdc.SelfTraining(n_clusters=4, backbone="small", image_size=16, baselines=False)
    with pytest.raises(OptionsError, match=f"^other_vectors {message}"):
        fdc.fit(IMAGES, joins, known=fdc.Known(other_vectors=given))


@pytest.mark.parametrize(
    "given", [masked(VECTORS), VECTORS.astype(object), VECTORS.tolist(), VECTORS.astype(np.int16)]
)
def test_others_are_the_same_as_their_numbers(given):
    expected = fdc.fit(None, OPTIONS, features=np.asarray(given, np.float32)).labels
    assert np.array_equal(fdc.fit(None, OPTIONS, features=given).labels, expected)


def test_masked_images_are_refused_and_others_are_as_plain_ones():
    with pytest.raises(
        ImagesError, match=r"^images has 64 masked entries; fill them, such as images\.filled\(0\)"
    ):
        fdc.fit(masked(IMAGES, [3]), OPTIONS)
    assert np.array_equal(fdc.fit(masked(IMAGES), OPTIONS).labels, fdc.fit(IMAGES, OPTIONS).labels)


def test_masked_labels_are_refused():
    labels = masked(CLASSES, [3])
    with pytest.raises(
        OptionsError, match=r"^truth has 1 masked entry; give one per image, None where unknown"
    ):
        fdc.fit(IMAGES, OPTIONS, truth=labels)
    with pytest.raises(OptionsError, match=r"^truth has 1 masked entry"):
        fdc.fit(None, OPTIONS, features=VECTORS, truth=list(labels))
    assert fdc.fit(IMAGES, OPTIONS, truth=masked(CLASSES)).record.rounds[-1].truth is not None
    learned = fdc.DeepCluster(n_clusters=10, rounds=1, baselines=False, device="cpu")
    with pytest.raises(OptionsError, match=r"^initial has 1 masked entry"):
        fdc.fit(IMAGES, learned, known=fdc.Known(initial=labels))
    with pytest.raises(OptionsError, match=r"^fixed has 1 masked entry; give True or False"):
        fdc.fit(IMAGES, learned, known=fdc.Known(initial=CLASSES, fixed=masked(CLASSES > 4, [3])))


def test_an_audit_takes_no_masked_arrays():
    with pytest.raises(InputError, match=r"^vectors has 64 masked entries; leave"):
        fdc.audit_vectors(masked(VECTORS, [3]), CLASSES)
    with pytest.raises(InputError, match=r"^labels has 1 masked entry; give None"):
        fdc.audit_vectors(VECTORS, masked(CLASSES, [3]))
    with pytest.raises(InputError, match=r"^groups has 2 masked entries; give None"):
        fdc.audit_vectors(VECTORS, CLASSES, known=fdc.KnownSides(groups=masked(np.arange(N), [3, 4])))
