"""Who may use which encoder: none tells a training set of what was hidden from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from text_data import COLD_ITEMS, ITEMS, make_wordy_bert, worded

from kgrec.data.interactions import Interactions
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.text.encoder import TextEncoder
from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.models.text.side import learned_encoder, share_encoders, side_of, untaught, vectors_of
from kgrec.models.text.tuned import TunedText, common_events
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.windows import WindowConfig, make_cold_windows, make_windows
from kgrec.retrieval.candidates import CandidateConfig
from kgrec.retrieval.sources import ContentKernel, TextSimilarity

TRAIN = worded()
CONFIG = FineTuningConfig(
    mode="full", steps=4, texts_per_step=32, factors=8, learning_rate=1e-3, device="cpu", threads=1
)
WINDOWS = WindowConfig(count=2, hidden_folds=4, cold_folds=4)
CANARY = 3


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wordy_bert(tmp_path_factory.mktemp("bert"))


class Watched(TunedText):
    """Remembers what each training set was given."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.used: list[tuple[TrainingData, Interactions]] = []

    def encoder_for(self, train: TrainingData) -> TextEncoder:
        encoder = super().encoder_for(train)
        self.used.append((train, self._events_for(train)))
        return encoder


def events_of(events: Interactions) -> set[tuple[int, int, int]]:
    arrays = (events.user_idx, events.item_idx, events.timestamp)
    return set(zip(*(array.tolist() for array in arrays), strict=True))


def with_verdicts_turned(train: TrainingData, item: int) -> TrainingData:
    """Return the data in which those like an item who disliked it, and the other way round."""
    events = train.interactions
    positive = np.where(events.item_idx == item, ~events.positive, events.positive)
    return replace(train, interactions=replace(events, positive=positive))


def test_hidden_item_gets_a_vector_that_does_not_know_its_fans(bert: Path, tmp_path: Path) -> None:
    """The canary word stands in one text alone; whoever likes that item, its vector is the same."""
    texts = np.array(TRAIN.dataset.items.texts, dtype=object)
    texts[CANARY] = "noisea canary"
    dataset = replace(TRAIN.dataset, items=replace(TRAIN.dataset.items, texts=texts))
    world = replace(TRAIN, dataset=dataset)
    worlds = [world, with_verdicts_turned(world, CANARY)]
    found = []
    for number, world in enumerate(worlds):
        text = TunedText(bert, dataset.items, CONFIG, tmp_path / str(number))
        windows = make_windows(world, WINDOWS)
        hidden = make_cold_windows(world, WINDOWS)
        text.share([window.train for window in windows])
        text.share([window.train for window in hidden], hidden=True)
        blind = [window for window in [*windows, *hidden] if window.cold[CANARY]]
        assert blind
        vectors = [text.vectors_for(window.train)[CANARY] for window in blind]
        found.append((vectors, text.vectors_for(world)[CANARY]))
    (blind_a, all_a), (blind_b, all_b) = found
    for a, b in zip(blind_a, blind_b, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(all_a - all_b).max() > 1e-4  # who knows the events tells the worlds apart


def test_no_part_of_a_pipeline_reads_an_encoder_that_learned_from_what_is_hidden(
    bert: Path, tmp_path: Path
) -> None:
    text = Watched(bert, TRAIN.dataset.items, CONFIG, tmp_path)

    def make_sources() -> dict[str, Scorer]:
        return {
            "text_similarity": TextSimilarity(text_vectors=text),
            "content_kernel": ContentKernel(text_vectors=text),
        }

    config = PipelineConfig(
        candidates=CandidateConfig(depth=20, cold_depth=10), windows=WINDOWS, rankers=("linear",)
    )
    pipeline = fit_pipeline(TRAIN, make_sources, config, text_vectors=text)
    asked = {len(train.interactions) for train, _ in text.used}
    assert len(asked) == 7  # two windows in time, four of hidden items, and all of train
    for train, learned in text.used:
        assert events_of(learned) <= events_of(train.interactions)
    assert len(list((tmp_path / "encoders").iterdir())) == 4  # one in time, two hidden, one of all
    final = text.vectors_for(TRAIN)
    similarity = pipeline.sources["text_similarity"]
    assert isinstance(similarity, TextSimilarity)
    expected = TextSimilarity(text_vectors=final).fit(TRAIN).item_vectors()
    np.testing.assert_array_equal(similarity.item_vectors(), expected)


def test_common_events_stand_in_every_part() -> None:
    windows = make_windows(TRAIN, WINDOWS)
    parts = [window.train.interactions for window in windows]
    common = common_events(parts)
    assert events_of(common) == events_of(parts[0]) & events_of(parts[1])
    assert 0 < len(common) < len(parts[0])
    assert (np.diff(common.user_idx) >= 0).all()


def test_unshared_training_set_gets_an_encoder_of_all_its_events(
    bert: Path, tmp_path: Path
) -> None:
    text = Watched(bert, TRAIN.dataset.items, CONFIG, tmp_path)
    folder = learned_encoder(text, TRAIN)
    assert folder is not None
    assert folder.parent == tmp_path / "encoders"
    assert len(text.used[0][1]) == len(TRAIN.interactions)


def test_untaught_vectors_are_those_of_the_base_model(bert: Path, tmp_path: Path) -> None:
    text = TunedText(bert, TRAIN.dataset.items, CONFIG, tmp_path)
    base = TextEncoder(bert, tmp_path / "cache").encode(TRAIN.dataset.items.texts.tolist())
    np.testing.assert_array_equal(untaught(text), base)
    assert not np.array_equal(text.vectors_for(TRAIN), base)
    assert base.shape == (ITEMS, 64)
    assert not TRAIN.interactions.item_idx.max() >= ITEMS - COLD_ITEMS


def test_array_stays_the_array_it_is() -> None:
    vectors = np.ones((ITEMS, 3), dtype=np.float32)
    share_encoders(vectors, [TRAIN])
    assert vectors_of(vectors, TRAIN) is vectors
    assert untaught(vectors) is vectors
    assert side_of(vectors) is None
    assert learned_encoder(vectors, TRAIN) is None
    assert vectors_of(None, TRAIN) is None
    assert learned_encoder(None, TRAIN) is None
