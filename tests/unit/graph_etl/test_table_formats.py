import gzip
import json
import sqlite3

import polars as pl
import pytest

from graph_etl.errors import ConfigError, DataError
from graph_etl.table_config import TableConfig
from graph_etl.tables import TableReader

ROWS = {"id": ["a", "b"], "name": ["Zoë", "x"]}


def read(folder, wanted=None, **table):
    return TableReader(folder).read(TableConfig(**table), wanted)


@pytest.mark.parametrize(
    ("file", "text", "options"),
    [
        ("t.csv", 'id,name\na,Zoë\nb,"x"\n', {}),
        ("t.csv", "\ufeffid,name\r\na,Zoë\r\nb,x\r\n", {}),
        ("t.tsv", "id\tname\na\tZoë\nb\tx\n", {}),
        ("t.csv", "id;name\na;Zoë\nb;x", {"separator": ";"}),
        ("t.csv", "id;name\na;Zoë\nb;x", {}),
        ("t.csv", '"id";"name"\r\n"a";"Zoë"\r\n"b";"x"\r\n', {"separator": ";"}),
        ("t.csv", '"id"|"name"\n"a"|"Zoë"\n"b"|x\n', {}),
        ("t.txt", "id\tname\na\tZoë\nb\tx\n", {}),
        ("t.txt", "a|Zoë\nb|x\n", {"separator": "|", "columns": ["id", "name"]}),
        ("t.dat", "a::Zoë\nb::x\n", {"separator": "::", "columns": ["id", "name"]}),
        ("t.dat", "id::name\na::Zoë\nb::x\n", {"separator": "::"}),
        ("t.item", "id:token\tname:token_seq\na\tZoë\nb\tx\n", {}),
        ("t.jsonl", '{"id": "a", "name": "Zoë"}\n\n{"name": "x", "id": "b"}\n', {}),
        ("t.json", '[\n {"id": "a", "name": "Zoë"},\n {"name": "x", "id": "b"}\n]\n', {}),
    ],
)
def test_text_formats_give_the_same_rows(tmp_path, file, text, options):
    (tmp_path / file).write_bytes(text.encode())
    assert read(tmp_path, path=file, **options).frame.to_dict(as_series=False) == ROWS


def test_quotes_within_cells_may_be_doubled_or_stand_after_a_backslash(tmp_path):
    lines = [
        '"id";"name"',
        r'"1";"Rides \"J. P.\" again"',
        r'"2";"\"More; more\""',
        '"3";"all ""q"" round"',
        r'"4";"C:\\"',
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    names = read(tmp_path, path="t.csv").frame["name"].to_list()
    assert names == ['Rides "J. P." again', '"More; more"', 'all "q" round', "C:\\"]


def test_a_backslash_at_the_end_of_a_cell_is_a_character(tmp_path):
    (tmp_path / "t.csv").write_text('id,name\na,"C:\\"\nb,"say ""x\\"""\n')
    assert read(tmp_path, path="t.csv").frame["name"].to_list() == ["C:\\", 'say "x\\"']


def test_fields_of_json_records_are_columns_by_their_path(tmp_path):
    lines = [{"id": "a", "attributes": {"WiFi": "free", "open": {"Mon": "8-22"}}}, {"id": "b"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    frame = read(tmp_path, ["id", "attributes.WiFi", "attributes.open.Mon"], path="t.jsonl").frame
    assert frame["attributes.WiFi"].to_list() == ["free", None]
    assert frame["attributes.open.Mon"].to_list() == ["8-22", None]


def test_entities_of_html_become_characters(tmp_path):
    cell = "Simon &amp; J&eacute;r&#244;me&#x2019;s <b>R&D</b>"
    (tmp_path / "t.csv").write_text(f"id,name\na,{cell}\n")
    source = read(tmp_path, path="t.csv", derive={"name": {"column": "name", "html": True}})
    assert " ".join(source.frame["name"][0].split()) == "Simon & Jérôme’s R&D"


def test_gzip_and_other_encodings_are_read(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress("id,name\na,Zoë\nb,x\n".encode("latin-1")))
    source = read(tmp_path, path="t.csv.gz", encoding="latin-1")
    assert source.frame.to_dict(as_series=False) == ROWS


def test_parquet_and_sqlite_read_only_the_columns_that_are_needed(tmp_path):
    frame = pl.DataFrame({**ROWS, "votes": [1, 2]})
    frame.write_parquet(tmp_path / "t.parquet")
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute('CREATE TABLE films (id TEXT, name TEXT, "votes" INTEGER)')
    connection.executemany("INSERT INTO films VALUES (?, ?, ?)", frame.rows())
    connection.commit()
    connection.close()
    for options in ({"path": "t.parquet"}, {"path": "t.db", "sql_table": "films"}):
        source = read(tmp_path, ["id", "name"], **options)
        assert source.frame.to_dict(as_series=False) == ROWS
        assert read(tmp_path, **options).frame["votes"].to_list() == [1, 2]


def test_sqlite_columns_may_hold_mixed_types(tmp_path):
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute("CREATE TABLE films (year)")
    connection.executemany("INSERT INTO films VALUES (?)", [(1995,), ("about 1995",), (None,)])
    connection.commit()
    connection.close()
    cells = read(tmp_path, path="t.db", sql_table="films").frame["year"]
    assert cells.cast(pl.String).to_list() == ["1995", "about 1995", None]


def test_json_lists_stay_lists_and_scalars_among_them_become_lists(tmp_path):
    lines = [
        {"id": 1, "tags": ["a", "b"], "cast": [{"id": 31, "name": "Tom"}], "extra": {"z": 1}},
        {"id": 2.5, "tags": "", "cast": []},
        {"tags": "c", "flag": True},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    frame = read(tmp_path, path="t.jsonl").frame
    assert frame["id"].to_list() == ["1", "2.5", None]
    assert frame["tags"].to_list() == [["a", "b"], [], ["c"]]
    assert frame["cast"].to_list() == [[{"id": 31, "name": "Tom"}], [], None]
    assert frame["extra"].to_list() == ['{"z": 1}', None, None]
    assert frame["flag"].to_list() == [None, None, "true"]


def test_recbole_headers_give_the_kinds_of_columns(tmp_path):
    (tmp_path / "x.inter").write_text("user_id:token\titem_list:token_seq\tr:float\nu\ta b\t1\n")
    source = read(tmp_path, path="x.inter")
    assert source.frame.columns == ["user_id", "item_list", "r"]
    assert source.kinds == {"user_id": "token", "item_list": "token_seq", "r": "float"}


def test_id_lists_give_a_user_and_a_list(tmp_path):
    (tmp_path / "train.txt").write_text("0 7 8\n1\n\n2 9\n")
    frame = read(tmp_path, path="train.txt", format="id_lists").frame
    assert frame.rows() == [("0", ["7", "8"]), ("1", []), ("2", ["9"])]


def test_frames_given_from_python_are_tables(tmp_path):
    reader = TableReader(tmp_path, {"films": pl.DataFrame(ROWS)})
    assert reader.read(TableConfig(path="films")).frame.to_dict(as_series=False) == ROWS
    same = TableReader(
        tmp_path, {"films": pl.DataFrame(ROWS).head(1).vstack(pl.DataFrame(ROWS)[1:])}
    )
    same.read(TableConfig(path="films"))
    assert same.inputs == reader.inputs


def test_a_quote_in_a_tab_separated_table_is_a_character(tmp_path):
    (tmp_path / "t.tsv").write_text('id\tname\na\t"Weird Al\nb\tx\n')
    assert read(tmp_path, path="t.tsv").frame["name"].to_list() == ['"Weird Al', "x"]


DERIVE = {
    "year": {"column": "title", "extract": r"\((\d{4})\)\s*$"},
    "bare": {"column": "title", "replace": r"\s*\(\d{4}\)\s*$"},
    "decade": {"column": "year", "replace": ".$", "with": "0s"},
    "sex": {"column": "sex", "map": {"M": "man", "F": "woman"}},
    "clean": {"column": "html", "html": True},
}


def test_derived_columns_build_on_each_other(tmp_path):
    text = "title\tsex\thtml\nHeat (1995)\tM\t<b>Q&amp;A</b>\nAlien\tX\t\n"
    (tmp_path / "t.tsv").write_text(text)
    frame = read(tmp_path, path="t.tsv", derive=DERIVE).frame
    assert frame["year"].to_list() == ["1995", None]
    assert frame["bare"].to_list() == ["Heat", "Alien"]
    assert frame["decade"].to_list() == ["1990s", None]
    assert frame["sex"].to_list() == ["man", "X"]
    assert frame["clean"].to_list() == [" Q&A ", None]


def test_html_that_breaks_off_inside_a_tag_leaves_no_tag(tmp_path):
    broken = ['<span class="a"', "Tea <b>pot</b> <br", "1 < 2, I <3 it", "a > b"]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"html": cell}) + "\n" for cell in broken))
    frame = read(tmp_path, path="t.jsonl", derive={"clean": DERIVE["clean"]}).frame
    assert [cell.strip() for cell in frame["clean"]] == ["", "Tea  pot", "1 < 2, I <3 it", "a > b"]


def test_only_the_columns_that_a_derived_one_needs_are_read(tmp_path):
    (tmp_path / "t.tsv").write_text("title\tsex\nHeat (1995)\tM\n")
    source = read(tmp_path, ["decade"], path="t.tsv", derive=DERIVE)
    assert source.frame["decade"].to_list() == ["1990s"]


def test_derived_list_columns_are_changed_value_by_value(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"tags": ["x (1)", "y"]}\n')
    derive = {"tags": {"column": "tags", "replace": r" \(.*\)"}}
    assert read(tmp_path, path="t.jsonl", derive=derive).frame["tags"].to_list() == [["x", "y"]]


@pytest.mark.parametrize(
    ("file", "content", "options", "message"),
    [
        ("t.csv", b"", {}, r"Expected rows in t\.csv, got an empty file of 0 bytes"),
        ("t.csv", b"\n\n", {}, r"Expected rows in t\.csv, got only empty lines"),
        ("t.csv", b"id,name\n", {}, r"Expected rows in t\.csv, got an empty table"),
        ("t.csv", b"id,id\n1,2\n", {}, r"each column of t\.csv once, got \['id'\]"),
        ("t.csv", b"id,name\n1,2,3\n", {}, r"separator ',' in t\.csv"),
        (
            "t.csv",
            b"id,name\na,b\nc,\xe9t\xe9\n",
            {},
            r"utf-8 text in t\.csv, got byte 0xe9 in line 3, column 'name'.*encoding: latin-1",
        ),
        ("t.dat", b"a::b\nc\n", {"separator": "::"}, r"2 cells separated by '::'.*got 1 in row 1"),
        ("t.txt", b"1 2\n", {"separator": " ", "columns": ["a", "b", "c"]}, r"t\.txt"),
        ("t.item", b"id\tname:token\n1\t2\n", {}, r"Expected typed headers .* got 'id'"),
        ("t.jsonl", b"[1, 2]\n", {}, r"array of objects, got int"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', {}, r"t\.jsonl, .* got in line 2"),
        ("t.parquet", b"PAR1 no", {}, r"Expected a Parquet file at t\.parquet"),
        ("t.csv.gz", b"no gzip", {}, r"Expected gzip content in t\.csv\.gz"),
        ("t.db", b"no database, truly not one", {"sql_table": "x"}, r"SQLite database at t\.db:x"),
    ],
)
def test_faulty_files_are_refused_by_name(tmp_path, file, content, options, message):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path, path=file, **options)


def test_wrong_names_are_answered_with_the_nearest(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId\n1,2\n")
    with pytest.raises(DataError, match=r"column 'movieid' in ratings\.csv, got userId, movieId "
                                        r"\(did you mean 'movieId'\?\)"):  # fmt: skip
        read(tmp_path, ["movieid"], path="ratings.csv")
    with pytest.raises(DataError, match=r"found none \(did you mean 'ratings\.csv'\?\)"):
        read(tmp_path, path="rating.csv")
    with pytest.raises(DataError, match="is empty or absent"):
        read(tmp_path / "nowhere", path="rating.csv")


@pytest.mark.parametrize("wanted", [["id", "nme"], ["nme"]])
@pytest.mark.parametrize("file", ["t.jsonl", "t.parquet", "t.db", "t.csv"])
def test_a_wrong_column_is_told_with_all_that_are_there(tmp_path, file, wanted):
    pl.DataFrame(ROWS).write_ndjson(tmp_path / "t.jsonl")
    pl.DataFrame(ROWS).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame(ROWS).write_csv(tmp_path / "t.csv")
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute("CREATE TABLE t (id TEXT, name TEXT)")
    connection.execute("INSERT INTO t VALUES ('a', 'b')")
    connection.commit()
    connection.close()
    sql = {"sql_table": "t"} if file == "t.db" else {}
    with pytest.raises(DataError, match=r"'nme' in t\..*, got .*name \(did you mean 'name'\?\)"):
        read(tmp_path, wanted, path=file, **sql)


def test_a_wrong_sql_table_is_told_with_those_that_are_there(tmp_path):
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute("CREATE TABLE omdb (id)")
    connection.close()
    with pytest.raises(DataError, match=r"table 'odb' in t\.db, got omdb"):
        read(tmp_path, path="t.db", sql_table="odb")


def test_patterns_must_match_one_file(tmp_path):
    (tmp_path / "a.inter").write_text("user_id:token\nu\n")
    assert read(tmp_path, path="*.inter").label == "a.inter"
    (tmp_path / "b.inter").write_text("user_id:token\nu\n")
    with pytest.raises(DataError, match=r"one file that matches '\*\.inter'.*a\.inter.*b\.inter"):
        read(tmp_path, path="*.inter")


def test_formats_and_expressions_that_cannot_work_are_config_errors(tmp_path):
    (tmp_path / "t.xyz").write_text("a\n1\n")
    with pytest.raises(ConfigError, match=r"Expected a file ending in .* got t\.xyz"):
        read(tmp_path, path="t.xyz")
    with pytest.raises(ConfigError, match="known encoding"):
        read(tmp_path, path="t.xyz", format="csv", encoding="latin-99")
    with pytest.raises(ConfigError, match="Expected a regular expression in 'derive' of t"):
        read(tmp_path, path="t.xyz", format="csv", derive={"b": {"column": "a", "replace": "("}})
