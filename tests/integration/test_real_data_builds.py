"""The shipped mappings on the real data sets they are for."""

import shutil

import polars as pl
import pytest

from graph_etl.dataset_yaml import load_dataset_config
from graph_etl.mappings import recognise
from graph_etl.pipeline import build

pytestmark = [pytest.mark.data, pytest.mark.slow]


def counts(result):
    return {name: getattr(result.snapshot, name).height for name in ("items", "users", "triples")}


def tails(snapshot, relation):
    name = snapshot.entities["name"].to_list()
    index = snapshot.relation_types["relation"].to_list().index(relation)
    found = snapshot.triples.filter(relation_idx=index)
    return {(name[h], name[t]) for h, t in found.select("head_idx", "tail_idx").rows()}


def test_ml_latest_small(data_dir, tmp_path):
    folder = data_dir / "ml-latest-small"
    assert recognise(folder) == "ml-latest-small"
    result = build(folder, out=tmp_path)
    snapshot = result.snapshot
    assert counts(result) == {"items": 9742, "users": 610, "triples": 112_364}
    assert snapshot.interactions.height == 100_836
    assert ("Toy Story (1995)", "John Lasseter") in tails(snapshot, "directed_by")
    # read off the files by awk: ratings of at least 3.5
    assert snapshot.interactions["positive"].sum() == 61_716
    assert not build(folder, out=tmp_path).changed


def test_last_fm_with_its_published_split(data_dir, tmp_path):
    folder = data_dir / "lastfm-hetrec" / "recbole_lightkg"
    assert recognise(folder) == "lastfm-recbole"
    result = build(folder, out=tmp_path)
    assert counts(result) == {"items": 3846, "users": 1872, "triples": 15_518}
    assert result.snapshot.entities.height == 9366
    parts = dict(result.snapshot.interactions["context.split"].value_counts().iter_rows())
    assert sum(parts.values()) == 21_173
    assert set(parts) == {"train", "valid", "test"}


def test_last_fm_with_plays_of_artists_outside_its_catalogue(data_dir, tmp_path):
    folder = data_dir / "lastfm-hetrec"
    assert recognise(folder) == "lastfm-rich"
    plain = build(folder / "recbole_lightkg", out=tmp_path / "plain").snapshot
    result = build(folder, out=tmp_path)
    snapshot = result.snapshot
    # the ids are the same: each published like is a play of HetRec with the same count, and HetRec
    # has no other plays of these artists; all of them stay out
    raw = pl.read_csv(folder / "raw" / "user_artists.dat", separator="\t", infer_schema=False)
    raw.columns = ["user_id", "item_id", "plays"]
    ours = plain.interactions.select(
        user_id=plain.users["user_id"].gather(plain.interactions["user_idx"]),
        item_id=plain.items["item_id"].gather(plain.interactions["item_idx"]),
        plays=plain.interactions["value"].cast(pl.Int64).cast(pl.String),
    )
    assert ours.join(raw, on=ours.columns, how="anti").height == 0
    told = result.audit["tables"]["outside.1"]
    assert told["dropped"]["in the catalogue"] == ours.height == 21_173
    # nothing of the catalogue but what was published, in the parts that were published
    items = snapshot.items.select("item_idx", "item_id", "listed")
    assert set(items.filter("listed")["item_id"]) == set(plain.items["item_id"])
    rows = snapshot.interactions.join(items, on="item_idx")
    parts = dict(rows.filter("listed")["context.split"].value_counts().iter_rows())
    assert parts == dict(plain.interactions["context.split"].value_counts().iter_rows())
    outside = rows.filter(~pl.col("listed"))
    assert outside["context.split"].unique().to_list() == ["train"]
    assert outside.height == told["rows_kept"] == 62_897
    assert snapshot.triples.height == 15_518


def test_ml_100k_with_its_freebase_graph(data_dir, tmp_path):
    folder = data_dir / "ml-100k" / "recbole"
    assert recognise(folder) == "ml-100k-recbole"
    result = build(folder, out=tmp_path)
    assert counts(result)["items"] == 1682
    assert result.audit["tables"]["triples.ml-100k.kg"]["rows_in"] == 91_631
    assert result.audit["tables"]["link.ml-100k.link"]["noted"] == {"items without a link": 84}
    assert result.snapshot.interactions["positive"].sum() == 55_375


def test_a_category_that_was_published_with_copies(data_dir, tmp_path):
    (tmp_path / "dataset.yaml").write_text(
        "extends: amazon-reviews\nname: magazines\n"
        "items: {table: {path: meta_Magazine_Subscriptions.json.gz}}\n"
        "interactions: {table: {path: Magazine_Subscriptions_5.json.gz}}\n"
    )
    data = data_dir / "amazon-mini-5core"
    result = build(tmp_path / "dataset.yaml", data=data, out=tmp_path)
    items = result.audit["tables"]["items"]
    assert (items["rows_in"], items["rows_kept"]) == (3385, 2320)
    assert items["dropped"] == {"exact duplicate": 1065}


def test_amazon_gift_cards(data_dir, tmp_path):
    (tmp_path / "dataset.yaml").write_text(
        "extends: amazon-reviews\nname: gift-cards\n"
        "items: {table: {path: meta_Gift_Cards.json.gz}}\n"
        "interactions: {table: {path: Gift_Cards_5.json.gz}}\n"
    )
    result = build(
        load_dataset_config(tmp_path / "dataset.yaml"),
        out=tmp_path,
        data=data_dir / "amazon-mini-5core",
    )
    assert counts(result)["items"] == 1547
    tables = result.audit["tables"]
    assert tables["interactions"]["rows_in"] == 2972
    assert tables["interactions"]["dropped"] == {"exact duplicate": 3}
    assert not result.snapshot.items["title"].str.contains("&amp;|&#39;").any()


def test_a_graph_in_kgat_form_equals_the_same_graph_in_recbole_form(data_dir, tmp_path):
    source = data_dir / "lastfm-hetrec"
    folder = tmp_path / "kgat"
    folder.mkdir()
    for part in ("train", "test"):
        shutil.copy(source / "kg_topk_knkiss" / f"{part}.txt", folder)
    graph = (source / "ctr_mcclk" / "kg_final.txt").read_text().replace("\t", " ")
    (folder / "kg_final.txt").write_text(graph)
    assert recognise(folder) == "kgat"
    kgat = build(folder, out=tmp_path / "out").snapshot
    recbole = build(source / "recbole_lightkg", out=tmp_path / "other").snapshot
    assert kgat.triples.height == recbole.triples.height
    assert kgat.entities.height == recbole.entities.height
    assert kgat.interactions.height == recbole.interactions.height
