"""Stopping: agreement, patience, collapse."""

from fiftyone_deepcluster.core.record import AgreementScores, Round, StopReason
from fiftyone_deepcluster.training.stopping import StopOnAgreement, collapsed


def _round(nmi, share=0.2, in_use=10):
    change = None if nmi is None else AgreementScores(nmi=nmi, ari=0, purity=0, acc=0)
    return Round(index=0, change=change, clusters_in_use=in_use, largest_share=share)


def test_agreement_needs_patience_and_a_round_before():
    rule = StopOnAgreement(0.9, patience=2)
    assert rule.check([_round(None)]) is None
    assert rule.check([_round(0.95), _round(0.8), _round(0.95)]) is None
    assert rule.check([_round(0.8), _round(0.95), _round(0.9)]) is StopReason.CONVERGED


def test_one_cluster_is_a_collapse_although_rounds_agree():
    assert collapsed(_round(1.0, share=1.0, in_use=1), share_before=0.2)
    assert collapsed(_round(1.0, share=1.0, in_use=1), share_before=1.0)
    assert collapsed(_round(0.99, share=0.995), share_before=0.2)
    assert not collapsed(_round(0.99, share=0.995), share_before=0.995), "the data were like that"
    assert not collapsed(_round(0.9, share=0.97, in_use=3), share_before=0.2)
