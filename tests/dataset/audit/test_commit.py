"""Writing decided labels to fields: to the audited one and to others, whose labels may be those of somebody else."""

from __future__ import annotations

import fiftyone as fo
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import InputError


def test_commit_to_the_audited_field_and_back(audited, review):
    before = audited.values("doubtful.label")
    ids = [item["id"] for item in review.queue(3)["items"]]
    review.decide(ids[0], "accept")
    review.decide(ids[1], "keep")
    review.decide(ids[2], "exclude")
    assert review.commit(dry_run=True).n_changed == 1
    assert audited.values("doubtful.label") == before

    review.commit()
    after = audited.values("doubtful.label")
    changed = [
        name for name, one, other in zip(audited.values("id"), before, after, strict=True) if one != other
    ]
    assert changed == [ids[0]]
    assert audited[ids[0]].doubtful.label == audited[ids[0]].audit_suggestion
    review.undo()
    assert audited.values("doubtful.label") == before


def test_commit_to_a_new_field(audited, review):
    ids = [item["id"] for item in review.queue(3)["items"]]
    review.decide(ids[0], "accept")
    review.decide(ids[1], "exclude")
    review.commit("corrected")

    given = audited.values("doubtful.label")
    corrected = dict(zip(audited.values("id"), audited.values("corrected.label"), strict=True))
    assert corrected[ids[0]] == audited[ids[0]].audit_suggestion
    assert corrected[ids[1]] is None
    assert sum(one == other for one, other in zip(given, corrected.values(), strict=True)) == 298
    review.undo()
    assert not audited.has_field("corrected")
    with pytest.raises(InputError, match="belongs to a run"):
        review.commit("audit_given")


def test_commit_keeps_labels_of_somebody_else(audited, review):
    ids = [item["id"] for item in review.queue(3)["items"]]
    words = {name: f"word {row}" for row, name in enumerate(audited.values("id"))}
    del words[ids[2]]
    audited.set_values("words", words, key_field="id")
    given = dict(zip(*audited.values(["id", "doubtful.label"]), strict=True))
    review.decide(ids[0], "accept")

    assert review.preview_commit("words")["n_kept"] == review.commit("words", dry_run=True).n_kept == 299
    change = review.commit("words")
    assert (change.n_changed, change.n_kept) == (1, 299)
    assert dict(zip(*audited.values(["id", "words"]), strict=True)) == {**words, ids[2]: given[ids[2]]}
    review.decide(ids[2], "accept")
    assert review.commit("words").n_changed == 1  # what this audit has written is corrected
    assert audited[ids[2]].words == audited[ids[2]].audit_suggestion

    assert review.preview_commit("words", overwrite=True)["n_replaced"] == 299
    change = review.commit("words", overwrite=True)
    assert (change.n_changed, change.n_kept) == (299, 0)
    assert audited[ids[0]].words == audited[ids[0]].audit_suggestion
    review.undo()
    assert audited[ids[0]].words == words[ids[0]]


def test_commit_keeps_a_label_that_was_changed_since_the_audit(audited, review):
    ids = [item["id"] for item in review.queue(3)["items"]]
    for name in ids:
        review.decide(name, "accept")
    audited.set_values("doubtful", {ids[0]: fo.Classification(label="mine"), ids[2]: None}, key_field="id")
    change = review.commit()
    assert (change.n_changed, change.n_kept) == (1, 2)
    assert audited[ids[0]].doubtful.label == "mine"
    assert audited[ids[2]].doubtful is None
    assert audited[ids[1]].doubtful.label == audited[ids[1]].audit_suggestion
    review.decide(ids[1], "other", label="ten")
    assert review.commit().n_changed == 1
    assert audited[ids[1]].doubtful.label == "ten"
    with pytest.raises(InputError, match="overwrite='yes'"):
        review.commit(overwrite="yes")


@pytest.mark.parametrize("field", ["filepath", "thumbnail"])
def test_commit_writes_over_no_files(audited, review, field):
    audited.set_values("thumbnail", audited.values("filepath"))
    audited.app_config.media_fields = ["filepath", "thumbnail"]
    audited.save()
    before = audited.values(field)
    with pytest.raises(InputError, match=f"field='{field}' holds files or facts of the samples, not labels"):
        review.commit(field, overwrite=True)
    assert audited.values(field) == before


def test_commit_to_the_audited_field_after_it_was_deleted(audited, review):
    review.decide(review.queue(1)["items"][0]["id"], "accept")
    audited.delete_sample_field("doubtful")
    with pytest.raises(InputError, match="field='doubtful', which was audited, was deleted"):
        review.commit()
    assert review.commit("corrected").n_changed == 300


def test_an_audit_without_one_of_its_fields_is_renamed(audited, review):
    review.decide(review.queue(1)["items"][0]["id"], "accept")
    audited.delete_sample_field("audit_p_wrong")
    fdc.rename_audit(audited, "audit", "new")
    assert fdc.list_audits(audited) == ["new"]
    assert audited.count("new_decision") == 1
    fdc.delete_audit(audited, "new")
    assert not [name for name in audited.get_field_schema() if name.startswith("new")]


def test_commit_of_strings(labeled):
    labeled.set_values("plain", labeled.values("doubtful.label"))
    fdc.audit_labels(labeled, "plain", embeddings_field="pixels")
    review = fdc.review_labels(labeled, refit_every=0)
    with pytest.raises(InputError, match="nothing to write"):
        review.commit()
    first = review.queue(1)["items"][0]
    review.decide(first["id"], "accept")
    review.commit()
    assert labeled[first["id"]].plain == first["suggestion"]
    review.undo()
    assert labeled[first["id"]].plain == first["given"]
