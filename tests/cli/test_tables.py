from fiftyone_deepcluster.cli.tables import clusters_table, rounds_table, text_table
from fiftyone_deepcluster.core.record import AgreementScores, Round


def _agreement(value):
    return AgreementScores(nmi=value, ari=value, purity=value, acc=value)


def test_numbers_are_right_aligned_and_words_left_aligned():
    table = text_table(("name", "count"), [("a", 5), ("bcdef", 1234)])

    assert table.splitlines() == ["name    count", "─" * 13, "a           5", "bcdef   1,234"]


def test_brackets_and_colons_of_a_value_stay():
    assert text_table(("a",), [("[bold] :smile: [/x]",)]).splitlines()[2] == "[bold] :smile: [/x]"


def test_a_value_that_is_missing_is_a_dash():
    assert text_table(("loss",), [(None,), (0.12345,)]).splitlines()[2:] == ["    –", "0.123"]


def test_a_table_without_rows_has_a_header_only():
    assert text_table(("a", "b"), []) == "a   b\n─────"


def test_rounds_show_truth_only_if_it_was_given():
    blind = Round(
        index=0, loss=1.5, clusters_in_use=10, largest_share=0.125, seconds={"train": 1.0, "embed": 0.5}
    )
    measured = blind.model_copy(update={"index": 1, "change": _agreement(0.5), "truth": _agreement(0.9)})

    assert "ACC" not in rounds_table([blind])
    lines = rounds_table([blind, measured]).splitlines()
    assert lines[2].split() == ["1", "1.500", "–", "10", "12.5%", "1.5", "–", "–", "–"]
    assert lines[3].split() == ["2", "1.500", "0.500", "10", "12.5%", "1.5", "0.900", "0.900", "0.900"]
    assert "never used" in lines[4]


def test_clusters_show_size_share_and_most_frequent_label():
    labels = ["b", "a", "a", "a", None]
    truth = ["x", "y", "y", None, "x"]

    lines = clusters_table(labels, truth).splitlines()

    assert lines[2].split()[:3] == ["a", "3", "75.0%"]
    assert lines[2].split()[-2:] == ["y", "67%"]
    assert lines[3].split()[-2:] == ["x", "100%"]
    assert "mostly" not in clusters_table(labels)


def test_no_clusters_at_all():
    assert clusters_table([None, None]).splitlines()[0].startswith("cluster")
