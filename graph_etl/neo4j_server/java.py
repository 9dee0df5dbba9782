"""Which JDK runs which Neo4j, and the server's jars from Maven Central, kept in a cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from graph_etl.errors import MissingDependencyError, StoreError

VERSIONS = ("5.26.30", "2026.09.0")  # the first that a JDK on this machine can run is taken
_JDK_FOLDERS = (
    "/usr/lib/jvm/*",
    "/opt/*",
    "/opt/java/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
)
APOC_VERSIONS = {"5.26": "5.26.19"}  # of Neo4j -> of APOC core; any patch of the same release fits
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>neo4j-server</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>{dependencies}
  </dependencies>
</project>
"""
_DEPENDENCY = """
    <dependency>
      <groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
    </dependency>"""


def cache_folder() -> Path:
    """Return KGREC_CACHE_DIR, else kgrec below XDG_CACHE_HOME, else ~/.cache/kgrec."""
    if chosen := os.environ.get("KGREC_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kgrec"


def java_range(version: str) -> tuple[int, int]:
    """Return the oldest and newest Java that runs a Neo4j version.

    Raises:
        StoreError: It is no version such as 5.26.30.
    """
    if not re.fullmatch(r"\d{1,4}\.\d{1,2}\.\d{1,3}", version):
        raise StoreError(f"Expected a Neo4j version such as {VERSIONS[0]}, got '{version[:40]}'")
    return (17, 21) if version.startswith("5.") else (21, 25)


def jdk_for(version: str | None) -> tuple[str, Path]:
    """Return a Neo4j version and the newest JDK here that runs it.

    Args:
        version: A Neo4j version; None for the first of VERSIONS that has a JDK.

    Raises:
        MissingDependencyError: No JDK fits; the message says which were found.
    """
    found = sorted(set(_jdks()), reverse=True)
    for wanted in (version,) if version else VERSIONS:
        oldest, newest = java_range(wanted)
        for major, home in found:
            if oldest <= major <= newest:
                return wanted, home
    oldest, newest = java_range(version or VERSIONS[0])
    raise MissingDependencyError(
        f"Expected a JDK {oldest} to {newest} (with javac) for Neo4j {version or VERSIONS[0]}, "
        f"found {[f'{major} in {home}' for major, home in found] or 'none'}; install one, for "
        f"example with: apt-get install openjdk-{oldest}-jdk-headless, or set JAVA_HOME"
    )


def jars_of(version: str) -> Path:
    """Return the folder of a server's jars, fetched by Maven on first use (about 120 MB).

    Raises:
        MissingDependencyError: Maven is not installed.
        StoreError: Maven could not fetch them.
    """
    java_range(version)
    folder = cache_folder() / "neo4j" / version
    return _fetched(folder, version, "org.neo4j", ("neo4j", "neo4j-bolt"))


def apoc_jars_of(version: str) -> Path:
    """Return the folder of the jars of APOC core for a version of Neo4j, fetched likewise.

    Raises:
        MissingDependencyError: Maven is not installed.
        StoreError: Maven could not fetch them, or no APOC is known for the version.
    """
    release = version.rpartition(".")[0]
    if release not in APOC_VERSIONS:
        raise StoreError(
            f"Expected a Neo4j of {' or '.join(APOC_VERSIONS)} for APOC, got {version}; choose one "
            "with --version"
        )
    apoc = APOC_VERSIONS[release]
    folder = cache_folder() / "neo4j" / f"apoc-{apoc}"
    return _fetched(folder, apoc, "org.neo4j.procedure", ("apoc-core", "apoc-common"))


def _fetched(folder: Path, version: str, group: str, artifacts: tuple[str, ...]) -> Path:
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingDependencyError(
            f"Expected Maven (mvn) to fetch the jars of {folder}, found none; install it, for "
            "example with: apt-get install maven"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as name:
        fetched = Path(name) / "lib"
        pom = Path(name) / "pom.xml"
        wanted = [
            _DEPENDENCY.format(group=group, artifact=artifact, version=version)
            for artifact in artifacts
        ]
        pom.write_text(_POM.format(dependencies="".join(wanted)), encoding="utf-8")
        _run_maven(maven, pom, fetched, folder, artifacts[-1])
        try:
            fetched.rename(folder)
        except OSError as error:  # another process was first
            if not folder.is_dir():
                raise StoreError(f"Expected to put jars into {folder}, got: {error}") from error
    return folder


def _run_maven(maven: str, pom: Path, target: Path, folder: Path, artifact: str) -> None:
    command = [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode or not list(target.glob(f"{artifact}-*.jar")):
        said = [line for line in (ended.stdout + ended.stderr).splitlines() if "ERROR" in line]
        raise StoreError(
            f"Expected Maven to fetch {folder.name} of Neo4j, got: "
            f"{(said or ['nothing'])[0][:400]}; check the network and the settings of Maven (a "
            "proxy or mirror stands in ~/.m2/settings.xml), or copy the jars from another machine "
            f"to {folder}"
        )


def _jdks() -> Iterator[tuple[int, Path]]:
    """Every JDK found here, as (major version, home)."""
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if java := shutil.which("java"):
        homes.append(Path(java).resolve().parent.parent)
    for pattern in _JDK_FOLDERS:
        homes += Path("/").glob(pattern.lstrip("/"))
    homes += (Path.home() / ".sdkman" / "candidates" / "java").glob("*")
    for home in homes:
        release = home / "release"
        if (home / "bin" / "javac").is_file() and release.is_file():
            told = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', release.read_text(errors="replace"))
            if told:
                yield int(told.group(1)), home.resolve()
