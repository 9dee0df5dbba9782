"""Tuning learns the answers alone, goes on after a kill, and writes what servers read."""

import json

import gguf
import numpy as np
import pytest
import torch
from scripted_extraction import film, mention, schema
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from graph_etl.errors import ConfigError, DataError
from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.llm.tuned_model import load_model, save_gguf
from graph_etl.extraction.llm.tuning import TuneConfig, answer_loss, mean_loss, tune
from graph_etl.extraction.llm.tuning_examples import Example, batches, examples_of


def tiny_model(seed=0):
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True,
            max_position_embeddings=64, initializer_range=0.2, bos_token_id=1, eos_token_id=2,
            pad_token_id=2,
        )
    )  # fmt: skip


def copying_examples(number=24):
    """The answer repeats the prompt's first token."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(number):
        prompt = [int(token) for token in rng.integers(3, 20, 4)]
        made.append(Example((*prompt, prompt[0], prompt[0], 2), 4))
    return made


@pytest.mark.parametrize(("method", "rate"), [("full", 5e-3), ("lora", 1e-2)])
def test_tuning_lowers_the_loss_of_the_answers(tmp_path, method, rate):
    examples, model = copying_examples(), tiny_model()
    before = mean_loss(model, examples, 2)
    config = TuneConfig(method=method, epochs=20, learning_rate=rate)
    tuned = tune(model, examples, config, tmp_path, pad_id=2)
    after = mean_loss(tuned, examples, 2)
    assert before > 3.5
    assert after < 0.8 * before
    assert type(tuned) is LlamaForCausalLM


def test_the_loss_is_that_of_the_answers_tokens():
    model = tiny_model().eval()
    examples = copying_examples(3)
    [batch] = batches(examples, 3, 2, np.random.default_rng(0))
    with torch.no_grad():
        loss = float(answer_loss(model, batch))
        expected = 0.0
        for one in examples:
            logits = model(torch.tensor([one.ids])).logits[0].log_softmax(-1)
            for at in range(one.answer_from, len(one.ids)):
                expected -= float(logits[at - 1, one.ids[at]])
    assert loss == pytest.approx(expected, rel=0.02)  # bfloat16


def test_frozen_layers_stay_as_they_are(tmp_path):
    model = tiny_model()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    config = TuneConfig(epochs=1, learning_rate=1e-2, frozen_layers=1)
    tune(model, copying_examples(), config, tmp_path, pad_id=2)
    changed = {
        name for name, one in model.state_dict().items() if not torch.equal(one, before[name])
    }
    assert any("layers.1." in name for name in changed)
    assert not any("layers.0." in name or "embed" in name for name in changed)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_killed_tuning_ends_like_one_that_was_not(tmp_path, method):
    config = TuneConfig(
        method=method, epochs=2, learning_rate=1e-2, batch_examples=4, checkpoint_steps=1
    )

    def kill(told):
        if told.startswith("step 8 "):
            raise KeyboardInterrupt

    whole = tune(tiny_model(), copying_examples(), config, tmp_path / "a", pad_id=2)
    with pytest.raises(KeyboardInterrupt):
        tune(tiny_model(), copying_examples(), config, tmp_path / "b", pad_id=2, progress=kill)
    steps = []
    resumed = tune(
        tiny_model(), copying_examples(), config, tmp_path / "b", pad_id=2, progress=steps.append
    )
    assert steps[0].startswith("step 9 of 12")
    for name, one in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], one, msg=name)


def test_a_checkpoint_of_another_tuning_is_not_taken(tmp_path):
    steps = []
    for seed in (0, 1):
        config = TuneConfig(epochs=1, checkpoint_steps=1, seed=seed)
        tune(tiny_model(), copying_examples(), config, tmp_path, pad_id=2, progress=steps.append)
    assert sum(told.startswith("step 1 of") for told in steps) == 2
    (tmp_path / "checkpoint.safetensors").write_bytes(b"broken")
    tune(tiny_model(), copying_examples(), config, tmp_path, pad_id=2, progress=steps.append)
    assert sum(told.startswith("step 1 of") for told in steps) == 3


class Letters:
    """A tokenizer of single characters, with a chat template."""

    chat_template = "yes"
    eos_token_id = 2

    def apply_chat_template(self, messages, **settings):
        assert settings == {"add_generation_prompt": True, "tokenize": False}
        return "".join(f"<{one['role']}>{one['content']}" for one in messages) + "<answer>"

    def __call__(self, text, add_special_tokens):
        assert add_special_tokens is False
        return type("Ids", (), {"input_ids": [ord(letter) for letter in text]})


def test_examples_are_the_engines_prompt_and_the_compact_answer():
    document = film(1, "Set in OSLO.")
    gold = GoldDocument(
        document, (mention(document, "OSLO", "place"),), (GoldRelation(None, "set_in", 0),)
    )
    [example] = examples_of([gold], schema(), Letters(), 1000)
    prompt = "".join(map(chr, example.ids[: example.answer_from]))
    answer = "".join(map(chr, example.ids[example.answer_from : -1]))
    assert prompt.endswith("Set in OSLO.\n===" + prompt[-12:-8] + "<answer>")
    assert 'about the film "Film 1"' in prompt
    assert json.loads(answer) == {
        "entities": [["OSLO", "place"]],
        "triples": [["@", "set_in", "OSLO"]],
    }
    assert example.ids[-1] == 2
    with pytest.raises(DataError, match="so short"):
        examples_of([gold], schema(), Letters(), 32)
    plain = Letters()
    plain.chat_template = None
    with pytest.raises(DataError, match="chat template"):
        examples_of([gold], schema(), plain, 1000)


def write_llama_gguf(model, path):
    """A GGUF as converters write it, in float32, its rotary rows in their order."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_token_list(["a", "b"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        array = value.numpy()
        for part, heads in (("q_proj", 4), ("k_proj", 2)):
            if part in name:
                rows, columns = array.shape
                array = array.reshape(heads, 2, rows // heads // 2, columns)
                array = np.ascontiguousarray(array.swapaxes(1, 2)).reshape(rows, columns)
        if name != "lm_head.weight":
            writer.add_tensor(names.get_name(name, (".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_tuned_gguf_holds_the_tuned_weights_and_the_old_metadata(tmp_path):
    first, tuned = tiny_model(0), tiny_model(1)
    write_llama_gguf(first, tmp_path / "first.gguf")
    save_gguf(tuned, tmp_path / "first.gguf", tmp_path / "tuned.gguf")
    for name, model in (("first", first), ("tuned", tuned)):
        read = AutoModelForCausalLM.from_pretrained(
            tmp_path, gguf_file=f"{name}.gguf", dtype=torch.float32
        ).state_dict()
        for key, value in model.state_dict().items():
            step = value.abs().max() / 127 if name == "tuned" else 0.0
            torch.testing.assert_close(read[key], value, atol=float(step) + 1e-6, rtol=0, msg=key)
    old, new = (gguf.GGUFReader(tmp_path / f"{name}.gguf") for name in ("first", "tuned"))
    for field in ("llama.block_count", "tokenizer.ggml.tokens", "llama.rope.freq_base"):
        assert old.fields[field].contents() == new.fields[field].contents()


def test_what_is_no_model_is_told(tmp_path):
    with pytest.raises(ConfigError, match="found none"):
        load_model(tmp_path / "absent.gguf")
    with pytest.raises(ConfigError, match="causal language model"):
        load_model(tmp_path)
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ConfigError, match="architecture llama"):
        save_gguf(tiny_model(), tmp_path / "other.gguf", tmp_path / "x.gguf")
