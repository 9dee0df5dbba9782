"""Merging entities of one type: stages, decisions, kept ids, the guard against chains, evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from graph_etl.resolution import Entity, ResolutionConfig, merge_entities
from graph_etl.resolution.shared_items import SharedItems


def entity(name, times=1, rank=2):
    return Entity(f"t:{name.lower()}", (name,), times, rank)


def merged(entities, kind="words", level="similar", settings=None, **options):
    config = ResolutionConfig(level=level, kinds={"t": kind}, **(settings or {}))
    return merge_entities(entities, "t", config, **options)


def groups(found):
    return {merge.merged_id.removeprefix("t:"): merge.kept_id.removeprefix("t:")
            for merge in found.merges}  # fmt: skip


def test_level_says_which_stages_run():
    names = [entity("hip-hop", 5), entity("hip hop"), entity("hiphop")]
    assert groups(merged(names, level="spelling")) == {}
    assert groups(merged(names, level="exact")) == {"hip hop": "hip-hop"}
    assert groups(merged(names)) == {"hip hop": "hip-hop", "hiphop": "hip-hop"}


def test_merge_tells_stage_score_and_evidence():
    found = merged([entity("hip-hop", 5), entity("hip hop"), entity("hiphop")])
    exact, similar = found.merges
    assert (exact.stage, exact.score) == ("exact", 1.0)
    assert (similar.stage, similar.score, similar.evidence) == ("similar", 0.97, "equal but for "
                                                                "spaces")  # fmt: skip


def test_the_most_frequent_is_kept_unless_another_was_kept_before():
    assert groups(merged([entity("Pathe"), entity("Pathé", 9)])) == {"pathe": "pathé"}
    assert groups(merged([entity("Pathe", rank=1), entity("Pathé", 9)])) == {"pathé": "pathe"}
    kept_before = [entity("Pathe", rank=0), entity("Pathé", 9, rank=1)]
    assert groups(merged(kept_before)) == {"pathé": "pathe"}


def test_first_id_is_kept_among_equals():
    assert groups(merged([entity("b a"), entity("b-a")])) == {"b-a": "b a"}


CHAIN = ["Samuel L. Jackson", "Samuel Leroy Jackson", "Samuel Lee Jackson"]


def test_a_chain_never_joins_what_contradicts():
    found = merged([entity(name) for name in CHAIN], kind="person")
    assert len(found.merges) == 1
    together = {found.merges[0].merged_id, found.merges[0].kept_id}
    assert together != {f"t:{name.lower()}" for name in CHAIN[1:]}
    assert len(found.open_pairs) == 1
    assert "other names of the two differ" in found.open_pairs[0].evidence


def test_what_was_one_stays_so_when_another_name_fits_as_well():
    names = [Entity(f"t:{name.lower()}", (name,), 1) for name in CHAIN]
    assert groups(merged(names, kind="person")) == {"samuel lee jackson": "samuel l. jackson"}
    kept = "t:samuel l. jackson"
    before = [replace(one, kept_as=kept) for one in names[:2]]
    found = merged([*before, names[2]], kind="person")
    assert groups(found) == {"samuel leroy jackson": "samuel l. jackson"}


def test_long_chain_of_small_steps_stays_apart_at_its_ends():
    steps = ["color lines", "colour lines", "colour line", "colours line", "colours lines"]
    found = merged([entity(name) for name in steps])
    kept = groups(found)
    ends = {kept.get(name, name) for name in ("color lines", "colours line")}
    assert len(ends) == 2


def test_yes_joins_and_no_parts_at_every_stage():
    names = [entity(name) for name in ("Prince", "The Artist", "hip-hop", "hip hop", "hiphop")]
    found = merged(
        names,
        same=[("t:prince", "t:the artist")],
        different=[("t:hip hop", "t:hip-hop"), ("t:hip hop", "t:hiphop")],
    )
    assert groups(found) == {"the artist": "prince", "hiphop": "hip-hop"}
    assert {merge.stage for merge in found.merges} == {"reviewed", "similar"}


def test_no_holds_through_others_and_is_not_asked_again():
    names = [entity("a-b c"), entity("a b c"), entity("a b-c")]
    found = merged(names, different=[("t:a-b c", "t:a b c")])
    assert len(found.merges) == 1
    assert found.open_pairs == []


def test_yes_between_unlike_names_passes_the_guard():
    found = merged([entity("Prince"), entity("Symbol")], same=[("t:prince", "t:symbol")])
    assert groups(found) == {"symbol": "prince"}


def test_open_pairs_name_kept_ids_surest_first():
    names = ["Keith David", "David Keith", "Sergei Bodrov", "Sergey Bodrov", "Sergey-Bodrov"]
    found = merged([entity(name) for name in names], kind="person")
    assert [(pair.id_a, pair.id_b) for pair in found.open_pairs] == [
        ("t:david keith", "t:keith david"),
        ("t:sergei bodrov", "t:sergey bodrov"),
    ]


def test_last_first_is_met_only_where_configured():
    names = [entity("Tolkien, J. R. R."), entity("J.R.R. Tolkien")]
    assert groups(merged(names, kind="person", level="exact")) == {}
    turned = merged(names, kind="person", level="exact", settings={"last_first": ["t"]})
    assert len(turned.merges) == 1


def shared(rows, meaning):
    frame = pl.DataFrame(rows, schema=["head_id", "relation", "tail_id"], orient="row")
    return SharedItems(frame, meaning)


def test_shared_items_speak_for_a_pair():
    names = [entity("psychedelic"), entity("psychadelic")]
    rows = [("i:1", "tag", "t:psychedelic"), ("i:1", "tag", "t:psychadelic"),
            ("i:2", "tag", "t:psychedelic")]  # fmt: skip
    settings = {"accept_at": 0.9}
    assert groups(merged(names, settings=settings)) == {}
    found = merged(names, settings=settings, shared=shared(rows, {"tag": "for"}))
    assert groups(found) == {"psychedelic": "psychadelic"}
    assert "1 shared items" in found.merges[0].evidence


def test_shared_items_speak_against_a_pair():
    names = [entity("James LeGros"), entity("James Le Gros")]
    rows = [("i:1", "stars", "t:james legros"), ("i:1", "stars", "t:james le gros")]
    assert len(merged(names, kind="person").merges) == 1
    found = merged(names, kind="person", shared=shared(rows, {"stars": "against"}))
    assert found.merges == []
    assert "1 items name both" in found.open_pairs[0].evidence


def test_vectors_decide_only_what_names_leave_open():
    names = [entity("psychedelic"), entity("psychadelic"), entity("john"), entity("jane")]
    asked = []

    def vectors(texts):
        asked.extend(texts)
        return np.ones((len(texts), 3), np.float32)

    found = merged(names, settings={"accept_at": 0.9}, vectors=vectors)
    assert groups(found) == {"psychedelic": "psychadelic"}
    assert "vectors 1.00" in found.merges[0].evidence
    assert sorted(asked) == ["psychadelic", "psychedelic"]


@pytest.mark.parametrize("answer", [np.ones(2), np.ones((1, 3)), np.full((2, 3), np.nan)])
def test_vectors_of_a_wrong_form_are_refused(answer):
    names = [entity("psychedelic"), entity("psychadelic")]
    with pytest.raises(ValueError, match="Expected finite vectors of shape"):
        merged(names, vectors=lambda texts: answer)


def test_hostile_names_are_compared_or_counted():
    rtl = "שלום עולם"
    strange = ["🎸" * 6, "a\nb", "=cmd()", "\u202eabc", "!!!", "???", "\x00\x01", "'; DROP TABLE x"]
    names = ["x" * 10_000, "x" * 10_001, rtl, f"\u200f{rtl}", *strange]
    found = merged([entity(name) for name in names])
    assert groups(found) == {f"\u200f{rtl}": rtl}
    assert found.counts["names too long to compare"] == 2


def test_review_threshold_must_not_exceed_the_other():
    with pytest.raises(ValueError, match="expected review_at at most accept_at"):
        ResolutionConfig(accept_at=0.7, review_at=0.8)
