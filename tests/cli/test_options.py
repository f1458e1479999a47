import pytest

from fiftyone_deepcluster.cli.options import methods_table, options_table, parse_pairs
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import list_methods, parse_options

PARTS = {"backbone": "torchvision", "encoder": "pooled", "clusterer": "kmeans", "reducer": "umap"}


def test_values_are_json_where_they_can_be_and_text_elsewhere():
    values = parse_pairs(
        ["a=3", "b=0.5", "c=true", "d=null", 'e={"name": "kmeans"}', "f=resnet18", "g=x=y", "h="]
    )

    assert values == {
        "a": 3, "b": 0.5, "c": True, "d": None, "e": {"name": "kmeans"}, "f": "resnet18", "g": "x=y", "h": "",
    }  # fmt: skip


@pytest.mark.parametrize("word", ["rounds", "=3"])
def test_an_argument_without_equals_sign_is_refused_with_an_example(word):
    with pytest.raises(OptionsError, match="rounds=20"):
        parse_pairs([word])


def test_a_name_given_twice_is_refused():
    with pytest.raises(OptionsError, match="given twice"):
        parse_pairs(["a=1", "a=2"])


def test_pairs_reach_the_methods_own_options():
    options = parse_options("deepcluster", parse_pairs(["rounds=3", "clusterer=kmeans"]))

    assert options.rounds == 3


@pytest.mark.parametrize("width", [40, 80, 100])
def test_tables_fit_the_terminal_without_losing_words(width):
    for narrow, wide in [
        (methods_table(width), methods_table()),
        *((options_table(name, width=width), options_table(name)) for name in list_methods()),
        *((options_table(name, width=width), options_table(name)) for name in PARTS),
    ]:
        head, rule, *lines = narrow.splitlines()
        if width >= 80:
            assert max(map(len, [head, rule, *lines])) <= width
        assert sorted(" ".join(lines).split()) == sorted(" ".join(wide.splitlines()[2:]).split())
        if width == 40:
            assert len(lines) > len(wide.splitlines()) - 2


def test_every_method_is_listed_with_what_it_does():
    lines = methods_table().splitlines()[2:]

    assert [line.split()[0] for line in lines] == list(list_methods())
    assert all(len(line.split()) > 3 for line in lines)


def test_options_of_the_import_are_listed():
    table = options_table("import-dicom")
    assert {"frames", "keywords", "folder", "side", "key", "workers"} <= {
        line.split(" ")[0] for line in table.splitlines()
    }
    assert "(34)" in table


@pytest.mark.parametrize("method", sorted(list_methods()))
def test_every_option_is_listed_with_its_meaning(method):
    lines = options_table(method).splitlines()[2:]

    assert len(lines) == len(list_methods()[method].model_fields) - 1
    assert "n_clusters" in options_table(method)
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize(("option", "part"), PARTS.items())
def test_parts_that_an_option_takes_are_listed_and_their_options(option, part):
    lines = options_table(option).splitlines()[2:]

    assert part in [line.split()[0] for line in lines]
    assert all(len(line.split()) > 3 for line in lines)
    assert len(options_table(option, part).splitlines()) > 2


def test_options_of_an_encoder_are_listed_with_defaults():
    lines = {line.split()[0]: line.split()[1] for line in options_table("encoder", "pooled").splitlines()[2:]}

    assert lines["l2_normalize"] == "true"
    assert lines["bands"] == "1"


@pytest.mark.parametrize(
    ("name", "part", "way"),
    [
        ("encoders", None, "encoder"), ("encoder", "poled", "pooled"), ("deepcluster", "kmeans", "clusterer"),
        ("import-dicom", "pooled", "encoder"),
    ],
)  # fmt: skip
def test_unknown_names_are_refused_with_the_known_ones(name, part, way):
    with pytest.raises(OptionsError, match=way):
        options_table(name, part)


def test_the_papers_values_are_listed_where_they_differ():
    rows = {line.split()[0]: line for line in options_table("deepcluster").splitlines()}
    assert rows["option"].split() == ["option", "default", "paper", "meaning"]
    assert rows["rounds"].split()[:3] == ["rounds", "10", "200"]
    assert rows["weight_decay"].split()[:3] == ["weight_decay", "1e-05", "Weight"]
    assert "paper" not in options_table("frozen").splitlines()[0]
