"""The numbers of the recipes, against the paper's tables and figures and Anserini's regressions."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import ir_datasets
import pytest

from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.evaluation.measures import parse_measures
from spladev3_anserini.recipe.library import Library, declared_values
from spladev3_anserini.recipe.schema import Collection, Expected, QuerySet, Recipe
from spladev3_anserini.recipe.training import flatten
from spladev3_anserini.reproduction.group import declared_means

RECIPES = Library(Path(__file__).parents[2] / "recipes")
RELEASED = ["splade-v3", "splade-v3-distilbert", "splade-v3-lexical", "splade-v3-doc"]
DEMOS = ["demo", "demo-lexical", "demo-doc", "demo-doc-idf", "demo-doc-opensearch-idf"]
#: Recipes of released models that are searched in another way than they were trained for.
UNTRAINED = [*DEMOS, "splade-v3-doc-idf"]

TABLE_1 = """
Model        MRR@10 DL19 DL20 BEIR13 LoTTE-S LoTTE-F FLOPS
SPLADE++SD   37.6   73.0 71.8 50.7   –       –       1.4
SPLADE-v3    40.2   72.3 75.4 51.7   74.7    66.0    1.2
-DistilBERT  38.7   75.2 74.4 50.0   70.3    62.8    1.4
-Lexical     40.0   71.2 73.6 49.1   74.2    64.5    0.6
-Doc         37.8   71.5 70.3 47.0   71.1    59.0    1.4
"""

TABLE_2 = """
Dataset       SD    v3    DistilBERT Lexical Doc
ArguAna       51.8  50.9  48.4       52.7    46.7
Climate-FEVER 23.7  23.3  22.8       21.8    15.9
DBPedia       43.6  45.0  42.6       42.8    36.1
FEVER         79.6  79.6  79.6       78.5    68.9
FiQA          34.9  37.4  33.9       36.4    33.6
HotpotQA      69.3  69.2  67.8       68.5    66.9
NFCorpus      34.5  35.7  34.8       34.7    33.8
NQ            53.3  58.6  54.9       56.1    52.1
Quora         84.9  81.4  81.7       73.4    77.5
SCIDOCS       16.1  15.8  14.8       15.9    15.2
SciFact       71.0  71.0  68.5       71.5    68.8
TREC-COVID    72.5  74.8  70.0       63.6    68.1
Touché-2020   24.2  29.3  30.1       22.7    27.0
"""

#: nDCG*@10 per set: BM25, SD, v3, v3+MiniLM, v3+DeBERTaV3
FIGURES = """
M-DEV      .223 .445 .469 .473 .475     L-Life-S  .434 .604 .629 .617 .715
TREC19     .496 .761 .754 .768 .786     L-Pool-S  .319 .504 .532 .516 .626
TREC20     .480 .737 .758 .750 .762     L-Rec-S   .389 .518 .549 .549 .662
DL-Hard    .565 .766 .769 .637 .800     L-Sci-S   .223 .378 .398 .377 .473
TREC21     .445 .691 .718 .708 .755     L-Tech-S  .247 .430 .465 .444 .560
TREC22     .281 .579 .650 .635 .699     L-Writ-S  .410 .591 .615 .593 .702
V2DEV      .076 .181 .202 .197 .210     L-Life-F  .311 .444 .478 .468 .609
V2DEV2     .082 .188 .213 .210 .220     L-Pool-F  .224 .333 .358 .354 .463
ArguAna    .348 .521 .514 .420 .294     L-Rec-F   .334 .454 .474 .475 .609
Climate    .169 .225 .208 .238 .256     L-Sci-F   .148 .187 .198 .201 .270
DBPedia    .403 .559 .573 .567 .593     L-Tech-F  .155 .226 .246 .233 .337
FEVER      .622 .788 .784 .812 .864     L-Writ-F  .330 .441 .470 .469 .566
FiQA       .240 .349 .373 .367 .481     Antique   .528 .659 .715 .650 .740
HotpotQA   .625 .689 .690 .723 .742     CAR-auto  .195 .325 .347 .338 .320
NFCorpus   .328 .346 .358 .347 .376     CAR-man   .550 .671 .693 .637 .670
NQ         .306 .540 .586 .579 .657     DPR-NQ    .249 .418 .447 .452 .503
Quora      .709 .848 .813 .826 .843     TriviaQA  .351 .357 .358 .381 .390
SCIDOCS    .152 .162 .158 .168 .192     MrTyDi-en .124 .343 .384 .330 .465
SciFact    .678 .701 .711 .685 .750     TB04      .363 .365 .365  -    -
COVID      .648 .761 .774 .755 .880     TB05      .512 .448 .466  -    -
Touché     .835 .701 .756 .596 .759     TB06      .484 .445 .453  -    -
                                        MQ07      .419 .347 .367  -    -
                                        MQ08      .467 .307 .311  -    -
"""

#: castorini/anserini 81e3414: regression, documents, total terms, then each measure and its value
ANSERINI = """
beir-v1.0.0-arguana.splade-v3 8674 83229245 nDCG@10 0.4845 R@100 0.9794 R@1000 0.9964
beir-v1.0.0-climate-fever.splade-v3 5416593 35174945255 nDCG@10 0.2625 R@100 0.5737 R@1000 0.7831
beir-v1.0.0-cqadupstack-android.splade-v3 22998 118906757 nDCG@10 0.4109 R@100 0.7418 R@1000 0.9205
beir-v1.0.0-cqadupstack-english.splade-v3 40221 183702714 nDCG@10 0.4255 R@100 0.6961 R@1000 0.8384
beir-v1.0.0-cqadupstack-gaming.splade-v3 45301 235971801 nDCG@10 0.5193 R@100 0.8249 R@1000 0.9338
beir-v1.0.0-cqadupstack-gis.splade-v3 37637 266939607 nDCG@10 0.3236 R@100 0.6442 R@1000 0.8423
beir-v1.0.0-cqadupstack-mathematica.splade-v3 16705 134276512 nDCG@10 0.2445 R@100 0.5774 R@1000 0.8003
beir-v1.0.0-cqadupstack-physics.splade-v3 38316 242953193 nDCG@10 0.3753 R@100 0.7248 R@1000 0.8983
beir-v1.0.0-cqadupstack-programmers.splade-v3 32176 229840281 nDCG@10 0.3387 R@100 0.6823 R@1000 0.8643
beir-v1.0.0-cqadupstack-stats.splade-v3 42269 308708174 nDCG@10 0.3137 R@100 0.5949 R@1000 0.7861
beir-v1.0.0-cqadupstack-tex.splade-v3 68184 611849421 nDCG@10 0.2493 R@100 0.5263 R@1000 0.7517
beir-v1.0.0-cqadupstack-unix.splade-v3 47382 322463483 nDCG@10 0.3196 R@100 0.6251 R@1000 0.8319
beir-v1.0.0-cqadupstack-webmasters.splade-v3 17405 106789811 nDCG@10 0.3250 R@100 0.6644 R@1000 0.8839
beir-v1.0.0-cqadupstack-wordpress.splade-v3 48605 356330872 nDCG@10 0.2807 R@100 0.5825 R@1000 0.8015
beir-v1.0.0-dbpedia-entity.splade-v3 4635922 27302589764 nDCG@10 0.4476 R@100 0.5695 R@1000 0.7861
beir-v1.0.0-fever.splade-v3 5416568 35174704683 nDCG@10 0.8015 R@100 0.9550 R@1000 0.9741
beir-v1.0.0-fiqa.splade-v3 57638 442989145 nDCG@10 0.3798 R@100 0.6671 R@1000 0.8589
beir-v1.0.0-hotpotqa.splade-v3 5233329 29732932047 nDCG@10 0.6884 R@100 0.8215 R@1000 0.8997
beir-v1.0.0-nfcorpus.splade-v3 3633 39195836 nDCG@10 0.3629 R@100 0.2976 R@1000 0.6179
beir-v1.0.0-nq.splade-v3 2681468 17935344302 nDCG@10 0.5842 R@100 0.9438 R@1000 0.9889
beir-v1.0.0-quora.splade-v3 522931 641802806 nDCG@10 0.8141 R@100 0.9858 R@1000 0.9988
beir-v1.0.0-scidocs.splade-v3 25657 243252787 nDCG@10 0.1567 R@100 0.3673 R@1000 0.5982
beir-v1.0.0-scifact.splade-v3 5183 59370738 nDCG@10 0.7140 R@100 0.9360 R@1000 0.9967
beir-v1.0.0-trec-covid.splade-v3 171332 1548392477 nDCG@10 0.7299 R@100 0.1409 R@1000 0.4819
beir-v1.0.0-webis-touche2020.splade-v3 382545 3291772755 nDCG@10 0.3086 R@100 0.5128 R@1000 0.8435
dl19-passage.splade-v3 8841823 46922883529 AP@1000 0.5231 nDCG@10 0.7264 R@100 0.6442 R@1000 0.8791
dl20-passage.splade-v3 8841823 46922883529 AP@1000 0.5402 nDCG@10 0.7522 R@100 0.7671 R@1000 0.9039
msmarco-v1-passage.splade-v3 8841823 46922883529 AP@1000 0.4049 RR@10 0.3999 R@100 0.9228 R@1000 0.9868
"""

#: What the figures call a query set -> collection and set.
IN_FIGURES = {
    "M-DEV": "msmarco-v1-passage dev", "TREC19": "msmarco-v1-passage dl19",
    "TREC20": "msmarco-v1-passage dl20", "DL-Hard": "msmarco-v1-passage dl-hard",
    "TREC21": "msmarco-v2-passage dl21", "TREC22": "msmarco-v2-passage dl22",
    "V2DEV": "msmarco-v2-passage dev", "V2DEV2": "msmarco-v2-passage dev2",
    "ArguAna": "beir-arguana test", "Climate": "beir-climate-fever test",
    "DBPedia": "beir-dbpedia-entity test", "FEVER": "beir-fever test", "FiQA": "beir-fiqa test",
    "HotpotQA": "beir-hotpotqa test", "NFCorpus": "beir-nfcorpus test", "NQ": "beir-nq test",
    "Quora": "beir-quora test", "SCIDOCS": "beir-scidocs test", "SciFact": "beir-scifact test",
    "COVID": "beir-trec-covid test", "Touché": "beir-webis-touche2020 test",
    "L-Life-S": "lotte-lifestyle search", "L-Life-F": "lotte-lifestyle forum",
    "L-Pool-S": "lotte-pooled search", "L-Pool-F": "lotte-pooled forum",
    "L-Rec-S": "lotte-recreation search", "L-Rec-F": "lotte-recreation forum",
    "L-Sci-S": "lotte-science search", "L-Sci-F": "lotte-science forum",
    "L-Tech-S": "lotte-technology search", "L-Tech-F": "lotte-technology forum",
    "L-Writ-S": "lotte-writing search", "L-Writ-F": "lotte-writing forum",
    "Antique": "antique test", "CAR-auto": "car-v1.5 auto", "CAR-man": "car-v1.5 manual",
    "DPR-NQ": "dpr-w100 nq", "TriviaQA": "dpr-w100 triviaqa", "MrTyDi-en": "mr-tydi-en test",
    "TB04": "gov2 tb04", "TB05": "gov2 tb05", "TB06": "gov2 tb06", "MQ07": "gov2 mq07",
    "MQ08": "gov2 mq08"}

#: Table 2's names where they are not the figures'.
IN_TABLE_2 = {"Climate-FEVER": "Climate", "TREC-COVID": "COVID", "Touché-2020": "Touché"}

#: (collection, query set, measure) -> value
Cells = dict[tuple[str, str, str], float]


@functools.cache
def recipe(name: str) -> Recipe:
    return RECIPES.recipe(name)


@functools.cache
def collection(name: str) -> Collection:
    return RECIPES.collection(name)


def cells(blocks: Iterable[Expected]) -> Cells:
    """The values of some blocks, of which no two may give the same one."""
    found = [((name, query_set, measure), value) for block in blocks
             for name, sets in block.values.items() for query_set, values in sets.items()
             for measure, value in values.items()]
    assert len(dict(found)) == len(found)
    return dict(found)


def blocks_of(name: str, what: str) -> list[Expected]:
    return [block for block in recipe(name).expected if what in block.where]


def query_sets() -> list[tuple[str, str, QuerySet]]:
    return [(name, set_name, query_set) for name in RECIPES.collections()
            for set_name, query_set in collection(name).query_sets.items()]


def rows(table: str) -> dict[str, dict[str, str]]:
    head, *lines = (line.split() for line in table.strip().splitlines())
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


def fraction(percent: str) -> float:
    return round(float(percent) / 100, 3)


def figures() -> dict[str, float]:
    """v3's column, the third number of each five."""
    number = r"(?:\.\d{3}|-)"
    found = re.findall(rf"(\S+) +{number} +{number} +({number}) +{number} +{number}", FIGURES)
    return {name: float(value) for name, value in found}


def table_row(name: str) -> dict[str, str]:
    return rows(TABLE_1)["SPLADE-v3" if name == "splade-v3" else
                         {"distilbert": "-DistilBERT", "lexical": "-Lexical",
                          "doc": "-Doc"}[name.rpartition("-")[2]]]


def table_2(name: str) -> Cells:
    column = {"distilbert": "DistilBERT", "lexical": "Lexical",
              "doc": "Doc"}.get(name.rpartition("-")[2], "v3")
    return {(IN_FIGURES[IN_TABLE_2.get(data, data)].split()[0], "test", "nDCG@10"):
            fraction(row[column]) for data, row in rows(TABLE_2).items()}


def anserini() -> tuple[Cells, dict[str, tuple[int, int]]]:
    """Values and (documents, total terms); on DL19 and DL20 all but nDCG has trec_eval's -l 2."""
    values: Cells = {}
    index: dict[str, tuple[int, int]] = {}
    for line in ANSERINI.strip().splitlines():
        regression, documents, terms, *measures = line.split()
        data = regression.removesuffix(".splade-v3")
        deep = data in ("dl19-passage", "dl20-passage")
        name, query_set = (data.replace("beir-v1.0.0", "beir"), "test")
        if not data.startswith("beir"):
            name, query_set = "msmarco-v1-passage", data[:4] if deep else "dev"
        for measure, value in zip(measures[::2], measures[1::2], strict=True):
            known = {"AP@1000": "AP"}.get(measure, measure)
            if deep and not known.startswith("nDCG"):
                known = re.sub(r"^(AP|R)", r"\1(rel=2)", known)
            values[name, query_set, known] = float(value)
        assert index.setdefault(name, (int(documents), int(terms))) == (int(documents), int(terms))
    return values, index


@pytest.mark.parametrize("name", RELEASED)
def test_tables_1_and_2(name: str) -> None:
    row = table_row(name)
    beir = table_2(name)
    assert len(beir) == 13
    assert cells(blocks_of(name, "tables 1 and 2")) == {
        ("msmarco-v1-passage", "dev", "RR@10"): fraction(row["MRR@10"]),
        ("msmarco-v1-passage", "dl19", "nDCG@10"): fraction(row["DL19"]),
        ("msmarco-v1-passage", "dl20", "nDCG@10"): fraction(row["DL20"])} | beir


@pytest.mark.parametrize("name", RELEASED)
def test_the_summary_of_table_1_and_beir_s_mean(name: str) -> None:
    row = table_row(name)
    stated = [block.summary for block in recipe(name).expected if block.summary]
    assert stated == [{
        "beir-13 nDCG@10": fraction(row["BEIR13"]),
        "lotte-search Success@5": fraction(row["LoTTE-S"]),
        "lotte-forum Success@5": fraction(row["LoTTE-F"]), "FLOPS": float(row["FLOPS"])}]
    beir = [value for (on, _, _), value in cells(blocks_of(name, "tables")).items()
            if on.startswith("beir")]
    assert round(sum(beir) / 13, 3) == stated[0]["beir-13 nDCG@10"]


def test_the_figures() -> None:
    """All 44 query sets. SCIDOCS is plain nDCG@10 there: the number is table 2's, though it has
    negative judgments."""
    assert len(figures()) == 44
    assert figures().keys() == IN_FIGURES.keys()
    expected = {(*IN_FIGURES[name].split(), "nDCG*@10"): value
                for name, value in figures().items() if name != "SCIDOCS"}
    plain = ("beir-scidocs", "test", "nDCG@10")
    assert cells(blocks_of("splade-v3", "figures")) == expected | {plain: figures()["SCIDOCS"]}
    assert figures()["SCIDOCS"] == table_2("splade-v3")[plain]
    assert has_negatives(collection("beir-scidocs").query_sets["test"])


def test_anserini() -> None:
    values, index = anserini()
    (block,) = blocks_of("splade-v3", "castorini/anserini")
    assert cells([block]) == values
    assert {name: (own.documents, own.total_terms) for name, own in block.index.items()} == index
    assert {name: collection(name).documents for name in index} == {
        name: documents for name, (documents, _) in index.items()}
    prebuilt = recipe("splade-v3").prebuilt
    assert prebuilt is not None
    assert block.settings == prebuilt.settings
    assert prebuilt.indexes.keys() == index.keys()


def test_anserinis_settings() -> None:
    """Its Java encoder cuts a query's wordpieces, [CLS] among them, at 510 and then adds [SEP];
    BEIR's topics are taken out of their own hits (-removeQuery), MS MARCO's are not."""
    prebuilt = recipe("splade-v3").prebuilt
    assert prebuilt is not None
    (block,) = blocks_of("splade-v3", "castorini/anserini")
    for settings in (prebuilt.settings, block.settings):
        assert settings.stated_values() == {"max_length": 512, "query_max_length": 510 + 1, "dtype": "float32",
                            "quantizer": f"x{256 / 5:g}-rint", "special_tokens": "anserini"}
    for name, query_set in ((name, own) for name, _, own in query_sets()
                            if name in anserini()[1]):
        assert (query_set.hits, query_set.remove_query) == (1000, name.startswith("beir")), name


def test_no_other_values() -> None:
    wheres = {name: [block.where for block in recipe(name).expected] for name in RELEASED}
    tables = ["arXiv 2403.06789, tables 1 and 2"] * 2
    assert wheres == dict.fromkeys(RELEASED[1:], tables) | {
        "splade-v3": tables + ["arXiv 2403.06789, figures 1 to 4 (v3's column)"] * 3
        + ["castorini/anserini 81e3414, SPLADE-v3 ONNX regressions"]}
    ours = {name: {block.source for block in recipe(name).expected}
            for name in RECIPES.recipes() if name not in RELEASED and recipe(name).expected}
    assert ours == {"insuranceqa-mini": {"measured"}}
    assert all(recipe(name).prebuilt is None for name in RECIPES.recipes() if name != "splade-v3")


def test_tolerances_cover_what_published_routes_differ_by() -> None:
    """The paper's values of SPLADE-v3 against Anserini's; the figures too, where nDCG* is nDCG."""
    theirs = anserini()[0]
    compared = 0
    for block in recipe("splade-v3").expected:
        if block.source != "paper":
            continue
        for (name, query_set, measure), value in cells([block]).items():
            if measure == "nDCG*@10" and has_negatives(collection(name).query_sets[query_set]):
                continue
            other = theirs.get((name, query_set, measure.replace("*", "")))
            if other is not None:
                compared += 1
                assert abs(value - other) <= block.tolerance.measures, (name, query_set)
    assert compared == 3 + 13 + 10  # of the figures: BEIR less DBPedia, TREC-COVID and Touché


def has_negatives(query_set: QuerySet) -> bool:
    grades = irds(query_set.qrels)["qrels"]["fields"]["relevance"]["counts_by_value"]
    return any(int(grade) <= 0 for grade in grades)


#: Collections that are not among the paper's.
OURS = ("cranfield", "demo", "insuranceqa")


def test_the_44_query_sets() -> None:
    papers = {(name, set_name): query_set for name, set_name, query_set in query_sets()
              if name not in OURS and not name.startswith(("beir-cqadupstack-", "bright-"))}
    assert {tuple(place.split()) for place in IN_FIGURES.values()} == papers.keys()
    assert Counter(query_set.group for query_set in papers.values()) == {
        "msmarco-v1": 4, "msmarco-v2": 4, "beir-13": 13, "lotte-search": 5, "lotte-forum": 5,
        None: 2, "antique": 1, "car": 2, "dpr": 2, "mr-tydi": 1, "terabyte": 3, "million-query": 2}
    assert {name for (name, _), query_set in papers.items() if query_set.group is None} == {
        "lotte-pooled"}
    assert all(query_set.remove_query == name.startswith("beir-")
               for (name, _), query_set in papers.items())


def test_the_twelve_forums_of_cqadupstack() -> None:
    """BEIR's paper counts 13,145 queries and 457,199 documents. Anserini's values have a mean too."""
    names = [name for name in RECIPES.collections() if name.startswith("beir-cqadupstack-")]
    assert RECIPES.groups()["beir-cqadupstack"] == [(name, "test") for name in names]
    assert len(names) == 12
    assert sum(collection(name).documents or 0 for name in names) == 457_199
    assert sum(collection(name).query_sets["test"].queries or 0 for name in names) == 13_145
    means = {(block.source, measure): value for block, measure, value in declared_means(
        recipe("splade-v3"), "beir-cqadupstack", RECIPES.groups()["beir-cqadupstack"])}
    theirs = anserini()[0]
    assert means == {("anserini", measure): pytest.approx(
        sum(theirs[name, "test", measure] for name in names) / 12)
        for measure in ("nDCG@10", "R@100", "R@1000")}


def test_bright_excludes_what_its_judgments_exclude() -> None:
    places = RECIPES.groups()["bright"]
    assert len(places) == 12
    with_exclusions = {name for name, own in places if collection(name).query_sets[own].exclude}
    assert with_exclusions == {
        name for name, own in places for grades in
        [irds(collection(name).query_sets[own].qrels)["qrels"]["fields"]["relevance"]["counts_by_value"]]
        if "-100" in grades}
    assert with_exclusions == {"bright-aops", "bright-leetcode", "bright-theoremqa-questions"}


def test_a_group_with_the_name_of_a_collection_has_only_its_query_sets() -> None:
    for name, places in RECIPES.groups().items():
        if name in RECIPES.collections():
            assert places == [(name, own) for own in collection(name).query_sets]


@functools.cache
def irds(source: str) -> dict[str, dict[str, dict[str, dict[str, dict[str, int]]]]]:
    kind, _, dataset = source.partition(":")
    assert kind == "ir_datasets"
    loaded: dict[str, dict[str, dict[str, dict[str, dict[str, int]]]]] = \
        ir_datasets.load(dataset).metadata()
    return loaded


@pytest.mark.parametrize("name", [n for n in RECIPES.collections() if n not in OURS])
def test_ir_datasets_counts(name: str) -> None:
    """Its metadata comes with the package; nothing is downloaded."""
    own = collection(name)
    assert irds(own.corpus)["docs"]["count"] == own.documents
    for query_set in own.query_sets.values():
        assert irds(query_set.topics)["queries"]["count"] == query_set.queries
        assert irds(query_set.qrels)["qrels"]["count"] == query_set.judgments
        assert irds(query_set.qrels)["docs"]["count"] == own.documents


def test_the_demo_s_counts() -> None:
    folder = Path(__file__).parents[2] / "spladev3_anserini" / "demo"
    for name, file in (("questions", "qrels.txt"), ("first-judgments", "qrels-first.txt")):
        questions = collection("demo").query_sets[name]
        assert questions.queries == len(read_topics(str(folder / "topics.tsv")))
        assert questions.judgments == sum(map(len, read_qrels(str(folder / file)).values()))


def test_pyserini_s_names() -> None:
    """Read in its source: importing it starts a Java machine."""
    spec = importlib.util.find_spec("pyserini")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    topics = (folder / "search" / "_base.py").read_text("utf-8")
    topics = topics[topics.index("topics_mapping = {"):topics.index("qrels_mapping = {")]
    named = {query_set.pyserini for _, _, query_set in query_sets()} - {None}
    assert len(named) == 22 + 12
    assert named == {name for name in named if is_key(str(name), topics)}
    indexes = (folder / "prebuilt_index_info.py").read_text("utf-8")
    prebuilt = recipe("splade-v3").prebuilt
    assert prebuilt is not None
    assert [name for name in prebuilt.indexes.values() if not is_key(name, indexes)] == []


def is_key(name: str, source: str) -> bool:
    return re.search(rf"""['"]{re.escape(name)}['"]:""", source) is not None


def test_measures_are_spelled_as_they_are_reported() -> None:
    names = {measure for _, _, query_set in query_sets() for measure in query_set.measures}
    names |= {measure for name in RELEASED for *_, measure in cells_of_all(recipe(name))}
    assert {str(parse_measures(name)[0]) for name in names} == names


def cells_of_all(of: Recipe) -> list[tuple[str, str, str]]:
    return [place for block in of.expected for place in cells([block])]


def test_values_are_of_query_sets_and_recipes_that_there_are() -> None:
    for name in RELEASED:
        for on, query_set, measure in cells_of_all(recipe(name)):
            assert measure in collection(on).query_sets[query_set].measures
    for on in ("cranfield", "demo"):
        for block in collection(on).expected:
            assert block.values.keys() | block.index.keys() <= {*DEMOS, *RECIPES.baselines()}
            for sets in block.values.values():
                assert {*sets} <= collection(on).query_sets.keys()
                assert sets


#: Our own experiments, whose values are from nowhere.
SMALL = [n for n in RECIPES.recipes() if n.startswith(("insuranceqa", "mini-"))]


#: What neither the paper nor naver's code has; off unless a recipe states it.
NEWER = re.compile(r"\w+\.threshold|loss\.(temperature|budgets)|query_table\..*|rounds|rescore_each|"
                   r"teacher_dtype")


@pytest.mark.parametrize("name", [n for n in RECIPES.recipes() if n not in SMALL])
def test_every_training_value_says_where_it_is_from(name: str) -> None:
    training = recipe(name).training
    assert (training is None) == (name in UNTRAINED)
    if training is not None:
        values = flatten(training.model_dump(exclude={"sources"}, exclude_none=True))
        stated = flatten(training.model_dump(exclude={"sources"}, exclude_unset=True))
        assert training.sources.keys() == {key for key in values if key in stated or not NEWER.match(key)}


CUT = [n for n in RECIPES.recipes() if n.endswith("-top-64")]


@pytest.mark.parametrize("name", CUT)
def test_a_cut_model_is_that_of_its_recipe(name: str) -> None:
    cut, whole = recipe(name), recipe(name.removesuffix("-top-64"))
    assert cut.model == f"recipe:{name.removesuffix('-top-64')}"
    assert whole.training is not None
    assert cut.variant == whole.variant
    assert cut.settings == whole.settings.model_copy(update={"top_k": 64})


@pytest.mark.parametrize("name", [n for n in RECIPES.recipes() if n not in RELEASED + UNTRAINED + CUT
                                  and n != "insuranceqa-mini"])
def test_an_ablation_changes_what_its_sources_name(name: str) -> None:
    ablation, base = recipe(name), recipe(str(recipe(name).base))
    assert ablation.training is not None
    assert base.training is not None
    own, its = (flatten(t.model_dump(exclude={"sources"})) for t in (ablation.training, base.training))
    changed = {key for key in own if own[key] != its[key]}
    assert changed or ablation.variant != base.variant
    assert name in SMALL or changed == {key for key, source in ablation.training.sources.items()
                       if source != base.training.sources.get(key)}


@pytest.mark.parametrize(("name", "start", "documents", "queries", "rescore"), [
    ("splade-v3", "naver/splade-cocondenser-selfdistil", 0.02, ("l1", 0.01), True),
    ("splade-v3-distilbert", "distilbert-base-uncased", 0.02, ("l1", 0.01), True),
    ("splade-v3-lexical", "naver/splade-cocondenser-selfdistil", 0.006, ("l1", 0.002), False),
    ("splade-v3-doc", "Luyu/co-condenser-marco", 0.006, ("none", 0.0), False)])
def test_hyper_parameters(name: str, start: str, documents: float, queries: tuple[str, float],
                          rescore: bool) -> None:
    training = recipe(name).training
    assert training is not None
    assert (training.start, training.rescore) == (start, rescore)
    assert (training.documents.kind, training.documents.weight) == ("flops", documents)
    assert (training.queries.kind, training.queries.weight) == queries
    assert training.documents.steps == training.queries.steps == 30_000
    assert flatten(training.loss.model_dump()) == {
        "kl": 1, "margin_mse": 0.05, "contrastive": 0, "pairs": "all", "temperature": 1, "budgets": []}
    pool = training.candidates
    assert (pool.top, pool.random, pool.depth, training.negatives) == (50, 50, 1000, 8)
    assert (training.batch_size, training.learning_rate, training.warmup_ratio, training.epochs,
            training.max_length, training.precision, training.weight_decay, training.seed) == (
                20, 2e-5, 0.01, 5, 128, "fp16", 0, 123)
    assert len(training.teachers) == len(set(training.teachers)) == 4  # all but RankT5-3b


def test_the_readme_says_what_was_measured_here() -> None:
    """Its row of collections is those with a measured value; its models and ablations hold all of them."""
    text = (RECIPES.folder / "README.md").read_text("utf-8")
    run = {name: set(re.findall(r"`([\w.-]+)`", cells.split("|")[0]))
           for name, cells in re.findall(r"^\| (models|ablations|baselines|collections) \| (.*)$", text, re.M)}
    assert run["models"] | run["ablations"] | run["baselines"] <= RECIPES.recipes().keys() | RECIPES.baselines()
    recipes = {name: RECIPES.recipe(name) for name in RECIPES.recipes() | RECIPES.baselines()}
    collections = {name: RECIPES.collection(name) for name in RECIPES.collections()}
    measured = {(recipe, collection) for collection, data in collections.items()
                for recipe, content in recipes.items()
                for values in declared_values(recipe, content, collection, data)
                if values.by.source == "measured"}
    assert {collection for _, collection in measured} == run["collections"]
    assert {recipe for recipe, _ in measured} <= run["models"] | run["ablations"] | run["baselines"]
