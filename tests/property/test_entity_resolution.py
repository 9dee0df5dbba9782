"""Random names: order does not matter, resolving twice changes nothing, nights keep ids, undo."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_etl.attributes import STATEMENT
from graph_etl.audit import BuildAudit
from graph_etl.entities import entity_key
from graph_etl.resolution import Entity, ResolutionConfig, merge_entities
from graph_etl.resolution.merge_decisions import COLUMNS
from graph_etl.resolution.resolved_statements import EntityResolution

CONFIG = ResolutionConfig(level="similar", kinds={"person": "person"})
given_names = st.sampled_from(["John", "Jane", "J.", "John A.", "John Adam", "Jean-Luc", "Jeanluc"])
families = st.sampled_from(["Smith", "Smíth", "Smithe", "Le Gros", "LeGros", "Smith Jr.", "Wong"])
people = st.builds("{} {}".format, given_names, families)
words = st.sampled_from(["hip hop", "hip-hop", "hiphop", "hip hops", "colour lines", "color lines",
                         "colour line", "colour-lines", "part 1", "part 2", "!!!"])  # fmt: skip
odd = st.text(max_size=5)
names = st.lists(st.one_of(people, words, odd), max_size=12, unique=True)
kinds = st.sampled_from(["person", "word"])


def entities_of(spellings, kind):
    """Entities by today's id, as a build makes them."""
    frame = pl.DataFrame({"name": spellings}, schema={"name": pl.String}).with_columns(
        entity_key(kind, pl.col("name")).alias("id")
    )
    grouped = frame.group_by("id").agg("name")
    return [Entity(one, tuple(sorted(found)), len(found)) for one, found in grouped.iter_rows()]


def kept_as(found):
    return {merge.merged_id: merge.kept_id for merge in found.merges}


@settings(max_examples=80, deadline=None)
@given(names, kinds, st.randoms(use_true_random=False))
def test_order_does_not_matter(spellings, kind, random):
    entities = entities_of(spellings, kind)
    one = merge_entities(entities, kind, CONFIG)
    random.shuffle(entities)
    assert merge_entities(entities, kind, CONFIG) == one


@settings(max_examples=80, deadline=None)
@given(names, kinds)
def test_a_resolved_graph_is_resolved(spellings, kind):
    entities = entities_of(spellings, kind)
    kept = kept_as(merge_entities(entities, kind, CONFIG))
    assert not set(kept) & set(kept.values())
    united: dict[str, list[str]] = {}
    for entity in entities:
        own = kept.get(entity.entity_id, entity.entity_id)
        united.setdefault(own, []).extend(entity.names)
    again = [Entity(one, tuple(found), len(found)) for one, found in united.items()]
    assert merge_entities(again, kind, CONFIG).merges == []


@settings(max_examples=80, deadline=None)
@given(names, names, kinds)
def test_what_was_merged_stays_together_under_an_id_that_was_kept(first, second, kind):
    before = kept_as(merge_entities(entities_of(first, kind), kind, CONFIG))
    old_ids = {entity.entity_id for entity in entities_of(first, kind)}
    own = before | {kept: kept for kept in before.values()}
    tonight = [
        Entity(
            one.entity_id,
            one.names,
            one.times,
            0 if own.get(one.entity_id) == one.entity_id else 1 if one.entity_id in old_ids else 2,
            own.get(one.entity_id, ""),
        )
        for one in entities_of(list({*first, *second}), kind)
    ]
    after = kept_as(merge_entities(tonight, kind, CONFIG))
    for merged, kept in before.items():
        assert after.get(merged, merged) == after.get(kept, kept)
        assert after.get(kept, kept) in before.values()


@settings(max_examples=80, deadline=None)
@given(names, kinds, st.data())
def test_pairs_that_people_part_are_never_in_one_entity(spellings, kind, data):
    entities = entities_of(spellings, kind)
    ids = sorted(entity.entity_id for entity in entities)
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    parted = data.draw(st.lists(st.sampled_from(pairs))) if pairs else []
    found = merge_entities(entities, kind, CONFIG, different=parted)
    kept = kept_as(found)
    assert all(kept.get(a, a) != kept.get(b, b) for a, b in parted)
    assert not {(pair.id_a, pair.id_b) for pair in found.open_pairs} & set(parted)


def statements_of(rows):
    frame = pl.DataFrame(
        [(f"i:{n}", kind, name) for n, (kind, name) in enumerate(rows)],
        schema={"head_id": pl.String, "tail_type": pl.String, "tail_name": pl.String},
        orient="row",
    )
    ids = pl.when(pl.col("tail_type") == "person").then(
        entity_key("person", pl.col("tail_name"))
    ).otherwise(entity_key("word", pl.col("tail_name")))  # fmt: skip
    return frame.with_columns(
        head_type=pl.lit("i"), relation=pl.lit("r"), tail_id=ids, source=pl.lit("s"),
        doc_id=pl.col("head_id"), engine=pl.lit("table"), confidence=pl.lit(1.0, pl.Float32),
        run_id=pl.lit("run"),
    ).select(pl.col(name).cast(dtype) for name, dtype in STATEMENT.items())  # fmt: skip


def resolved(folder, statements):
    audit = BuildAudit()
    resolution = EntityResolution(CONFIG, folder, None)
    (after,) = resolution.resolve([statements], "i", audit)
    audit.check()
    return resolution, after


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(kinds, st.one_of(people, words, odd)), max_size=12))
def test_merges_never_cross_types_and_undo_gives_the_unmerged_statements(rows):
    statements = statements_of(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        resolution, after = resolved(folder, statements)
        assert after.drop("tail_id").equals(statements.drop("tail_id"))
        for kind, one in after.select("tail_type", "tail_id").iter_rows():
            assert one.startswith(f"{kind}:")
        merges = resolution.merges
        everyone = {*merges["merged_id"], *merges["kept_id"]}
        parted = pl.DataFrame(
            [
                (one.partition(":")[0], one, "", other, "", "", "", "no", "undo")
                for one in everyone
                for other in everyone
                if one < other and one.partition(":")[0] == other.partition(":")[0]
            ],
            schema=list(COLUMNS),
            orient="row",
        )
        (folder / "resolution").mkdir()
        parted.write_csv(folder / "resolution" / "review.csv")
        resolution, after = resolved(folder, statements)
        assert resolution.merges.is_empty()
        assert after.equals(statements)
