"""Language models on disk: read from GGUF or a folder, written as safetensors and as GGUF.

GGUF is what the local server reads. A tuned GGUF takes its metadata, tokenizer and chat template
from the GGUF that the tuning began with; of architectures, llama is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from graph_etl.errors import ConfigError, MissingDependencyError
from graph_etl.extraction.bert.encoder import quiet


def load_model(path: Path) -> tuple[Any, Any]:
    """Return (model in float32, tokenizer) of a GGUF file or a folder of transformers.

    Quantised weights are expanded: what quantisation lost stays lost.

    Raises:
        ConfigError: There is no such model.
        MissingDependencyError: gguf is not installed.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if path.suffix == ".gguf":
        gguf_package()
        where: dict[str, Any] = {"gguf_file": path.name}
        folder = path.parent
    else:
        where, folder = {}, path
    if not path.exists():
        raise ConfigError(f"Expected a model at {path}, found none; give a .gguf file or a folder")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, **where)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"Expected a causal language model that transformers reads at {path}, got: {error}"
        ) from error
    if where:  # expanded once and for all; otherwise it would refuse to be saved
        del model.config.quantization_config
        fresh = type(model)(model.config)
        fresh.load_state_dict(model.state_dict())
        model = fresh
    return model, tokenizer


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a folder for ``from_pretrained``: safetensors in bfloat16, config, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: one.to(torch.bfloat16) for name, one in model.state_dict().items()}
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def save_gguf(model: Any, like: Path, path: Path) -> None:
    """Write a llama model as GGUF, matrices as Q8_0, vectors as float32.

    Args:
        model: The tuned model.
        like: The GGUF that it began as; metadata, tokenizer and template are taken from it.
        path: File to write.

    Raises:
        ConfigError: ``like`` is of another architecture.
        MissingDependencyError: gguf is not installed.
    """
    gguf = gguf_package()
    reader = gguf.GGUFReader(like)
    architecture = _text(reader.fields["general.architecture"])
    if architecture != "llama":
        raise ConfigError(
            f"Expected a GGUF of architecture llama to write {path}, got {architecture}; convert "
            "the folder of safetensors with llama.cpp's convert_hf_to_gguf.py"
        )
    part = path.with_name(f"{path.name}.part")
    writer = gguf.GGUFWriter(part, architecture)
    _copy_metadata(gguf, reader, writer)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    weights = {
        names.get_name(name, (".weight",)): value for name, value in model.state_dict().items()
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for tensor in reader.tensors:
        value = weights[tensor.name].float().cpu().numpy()
        kind = tensor.name.split(".")[-2]
        if kind in heads:
            value = _rotated(value, heads[kind])
        if value.ndim == 1:
            writer.add_tensor(tensor.name, value)
        else:
            packed = gguf.quants.quantize(value, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor.name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)


def gguf_package() -> Any:
    """Return the module gguf.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise MissingDependencyError(
            "Expected the package gguf to read or write GGUF files, found none; install it with: "
            "pip install 'kgrec[tune]'"
        ) from error
    return gguf


def _rotated(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return rows in GGUF's order of rotary pairs: neighbours, not halves. Shape as given.

    Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
    """
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _copy_metadata(gguf: Any, reader: Any, writer: Any) -> None:
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in (
            "general.architecture",
            "general.file_type",
        ):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)


def _text(field: Any) -> str:
    return str(field.contents())
