"""TowersScorer: the hybrid two-tower model behind the Scorer contract.

After ``fit`` or ``load`` it holds item vectors and the user tower; the graph and the texts are no
longer needed. How it is trained stands in training.py, what the towers are in hybrid.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.data.strings import StringColumn
from kgrec.data.task import EvaluationTask
from kgrec.errors import ArtifactError, ConfigError, NotFittedError
from kgrec.models.fit_result import CurvePoint, Progress
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.text.side import TextSide
from kgrec.models.tower_inputs import Assembly, assemble
from kgrec.models.towers_config import TowersConfig
from kgrec.models.user_reading import UserReading
from kgrec.models.user_tower import Profiles, UserInputs, UserTower

CONFIG_FILE = "config.json"
ARRAYS_FILE = "arrays.safetensors"
SCHEMA_VERSION = 2
EVENT_MARKS = "users.event"
_READABLE = (1, 2)  # 1 kept the ids in config.json


@dataclass(frozen=True)
class _Fitted:
    """What scores need: item vectors with bias, the user tower, its profile table; and weights.

    Attributes:
        items: Shape (num_items, embedding_dim + 1), float32, the last column the item's bias.
        weights: All weights of both towers, for a warm start.
        item_ids, entity_ids: What the rows of ``items.ids`` and of the entity vectors stand for.
        entity_starts: Where entities lie before propagation, shape (num_entities, embedding_dim),
            by their names too; None where those are not read: it is the entity vectors.
    """

    items: Tensor
    users: UserTower
    profiles: Profiles
    weights: Mapping[str, Tensor]
    item_ids: StringColumn
    entity_ids: StringColumn
    best_steps: int
    curve: tuple[CurvePoint, ...]
    entity_starts: Tensor | None = None

    @cached_property
    def reading(self) -> UserReading | None:
        """The user tower for answers; None where only torch can ask it."""
        return UserReading.of(self.users)


class TowersScorer(Scorer):
    """Graph, text and behaviour in two towers: score = user vector . item vector.

    Args:
        config: Settings; None for the defaults (text off).
        texts: Names the encoder for what is learned from, in place of ``config.text_model``.
        checkpoint_dir: Folder in which a killed ``fit`` finds its last look again; None: none.
        progress: Told of each look while fitting.
    """

    name: ClassVar[str] = "towers"
    reads_texts: ClassVar[bool] = True

    def __init__(
        self,
        config: TowersConfig | None = None,
        *,
        texts: TextSide | None = None,
        checkpoint_dir: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.config = config or TowersConfig()
        self.texts = texts
        self.checkpoint_dir = checkpoint_dir
        self.progress = progress
        self._fitted: _Fitted | None = None

    def fit(
        self,
        train: TrainingData,
        validation: EvaluationTask | None = None,
        warm_start: TowersScorer | None = None,
    ) -> Self:
        """Train on ``train`` and return self.

        Args:
            train: What may be learned from.
            validation: Chooses the number of steps by NDCG@20, recorded as ``best_steps``; None
                trains for ``config.steps`` (or ``config.warm_start_steps``) exactly.
            warm_start: Fitted towers whose weights training starts from; items and entities are
                matched by id, new ones start fresh.

        Raises:
            ConfigError: No user has two likes, or the text encoder cannot be read.
        """
        from kgrec.models.training import fit_towers  # Lightning: seconds that serving saves

        encoder = None if self.texts is None else self.texts.encoder_for(train)
        if encoder is not None:
            self.config = self.config.model_copy(update={"text_model": encoder.model})
        assembly = assemble(train, self.config, encoder)
        if not len(assembly.sampler.users):
            raise ConfigError(
                "Expected at least one user with two positive train interactions, got none; the "
                "towers learn from histories cut in two"
            )
        if self.config.teacher is not None:
            from kgrec.models.teacher import Teacher  # all baselines, of which serving needs few

            assembly.sampler.teacher = Teacher.of(train, self.config)
        steps = self.config.steps
        if warm_start is not None:
            steps = self.config.warm_start_steps
            _take_weights(assembly, train, warm_start._state)
        result = fit_towers(
            assembly.model,
            assembly.sampler,
            validation,
            steps,
            self._checkpoint(train, warm_start),
            self.progress,
        )
        vectors, bias = assembly.model.all_items()
        self._fitted = _Fitted(
            items=torch.cat([vectors, bias.unsqueeze(1)], dim=1),
            users=assembly.model.users,
            profiles=assembly.profiles,
            weights={
                name: value.detach().clone() for name, value in assembly.model.state_dict().items()
            },
            item_ids=StringColumn.of(train.dataset.items.ids),
            entity_ids=StringColumn.of(assembly.entity_ids),
            best_steps=result.best_step,
            curve=result.curve,
            entity_starts=_entity_starts(assembly),
        )
        return self

    @property
    def best_steps(self) -> int:
        """Steps after which the weights were taken: the best on validation, else the last."""
        return self._state.best_steps

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """The looks during training, in order."""
        return self._state.curve

    def refit_config(self) -> TowersConfig:
        """Return the settings of a refit without validation: exactly ``best_steps`` steps."""
        return self.config.model_copy(update={"steps": self.best_steps})

    def item_vectors(self) -> FloatArray:
        """Return all item vectors, shape (num_items, embedding_dim + 1), float32.

        Their inner product with ``user_vectors`` is the score exactly: the last dimension carries
        the item's bias.
        """
        vectors: FloatArray = self._state.items.numpy()
        return vectors

    @torch.no_grad()
    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return user vectors, shape (B, embedding_dim + 1), float32; the last dimension is 1."""
        state = self._state
        if state.reading is not None:
            users = state.reading.vectors(histories, self.item_vectors())
            ones = np.ones((len(users), 1), dtype=np.float32)
            return np.concatenate([users / np.float32(self.config.temperature), ones], axis=1)
        # the items that are read and no others: a product with all of them copies the catalogue
        read, place = np.unique(np.append(histories.item_idx, 0), return_inverse=True)
        items = state.items[torch.from_numpy(read), :-1]
        inputs = UserInputs.of(replace(histories, item_idx=place[:-1]), len(read), self.config)
        users = state.users(inputs, items) / self.config.temperature
        return np.asarray(torch.cat([users, torch.ones(len(users), 1)], dim=1).numpy())

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32, nothing masked."""
        return np.asarray(self.user_vectors(histories) @ self.item_vectors().T, dtype=np.float32)

    def score_pairs(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return the scores of chosen items, as Scorer says, without a row over all items."""
        rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
        users, items = self.user_vectors(histories), self.item_vectors()
        return np.asarray(np.einsum("pd,pd->p", users[rows], items[item_idx]), dtype=np.float32)

    def score_grid(self, histories: HistoryBatch, item_idx: IntArray) -> FloatArray:
        """Return the scores of the same few items for each history, as Scorer says."""
        users, items = self.user_vectors(histories), self.item_vectors()[item_idx]
        return np.asarray(users @ items.T, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """Return name, settings, whether text is on, and the steps trained."""
        described = super().describe()
        described["text"] = "off" if self.config.text_model is None else "on"
        if self._fitted is not None:
            described["best_steps"] = self._fitted.best_steps
        return described

    def save(self, folder: Path) -> None:
        """Write config.json and arrays.safetensors into ``folder`` (made if absent)."""
        state = self._state
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"weights.{name}": value for name, value in state.weights.items()}
        arrays["items"] = state.items
        if state.entity_starts is not None:
            arrays["entity_starts"] = state.entity_starts
        if state.users.event is not None:
            arrays["event_codes"] = state.users.event_codes
        for name in ("text", "numeric", "codes"):
            arrays[f"profiles.{name}"] = getattr(state.profiles, name)
        for name, column in (("items", state.item_ids), ("entities", state.entity_ids)):
            arrays[f"ids.{name}.letters"] = torch.from_numpy(column.letters)
            arrays[f"ids.{name}.bounds"] = torch.from_numpy(column.bounds)
        save_file(
            {name: value.contiguous() for name, value in arrays.items()}, folder / ARRAYS_FILE
        )
        content = {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "config": self.config.model_dump(mode="json"),
            "best_steps": state.best_steps,
            "curve": [asdict(point) for point in state.curve],
            "vocabulary": {
                name: list(values) for name, values in state.profiles.vocabulary.items()
            },
        }
        text = json.dumps(content, indent=1)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the towers written by ``save``, with exactly the same scores.

        Raises:
            ArtifactError: The folder is not one of this model, is damaged, or is of another
                schema version.
        """
        content = _read_config(folder, cls.name)
        try:
            config = TowersConfig.model_validate(content["config"])
            scorer = cls(config)
            scorer._fitted = _restore(config, content, load_file(folder / ARRAYS_FILE))
        except (ValidationError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"Expected the settings of '{cls.name}' in {folder / CONFIG_FILE}; {error}"
            ) from error
        except Exception as error:  # safetensors raises its own types, none of them public
            raise ArtifactError(
                f"Expected the arrays of '{cls.name}' in {folder / ARRAYS_FILE} (got {error}); the "
                "folder is damaged: train again or restore a copy"
            ) from error
        return scorer

    @property
    def _state(self) -> _Fitted:
        if self._fitted is None:
            raise NotFittedError(
                f"Expected '{self.name}' to be fitted before it is asked; call fit or load"
            )
        return self._fitted

    def _checkpoint(self, train: TrainingData, warm_start: TowersScorer | None) -> Path | None:
        """Return the checkpoint of exactly this run: another run has another name."""
        if self.checkpoint_dir is None:
            return None
        started = None if warm_start is None else warm_start.item_vectors()
        name = _fingerprint(
            self.config,
            train.seed,
            train.interactions.user_idx,
            train.interactions.item_idx,
            train.interactions.positive,
            train.interactions.kind,
            train.graph.head,
            train.graph.relation,
            train.graph.tail,
            started,
        )
        return self.checkpoint_dir / f"towers-{name}.ckpt"


def _entity_starts(assembly: Assembly) -> Tensor | None:
    knowledge = assembly.model.items.knowledge
    return None if knowledge is None or knowledge.names is None else knowledge.starts().detach()


def _take_weights(assembly: Assembly, train: TrainingData, earlier: _Fitted) -> None:
    """Copy weights of an earlier model, rows of items and entities matched by id."""
    weights = assembly.model.state_dict()
    rows_of: dict[str, tuple[Iterable[object], Iterable[object]]] = {
        "items.ids": (train.dataset.items.ids, earlier.item_ids),
        "met.bias": (train.dataset.items.ids, earlier.item_ids),
        "items.id_bias": (train.dataset.items.ids, earlier.item_ids),
        "items.knowledge.entities": (assembly.entity_ids, earlier.entity_ids),
    }
    towers = (assembly.model.users, earlier.users)
    if all(tower.event is not None for tower in towers):
        now, before = ([0, *tower.event_codes.tolist()] for tower in towers)
        rows_of[EVENT_MARKS] = (now, before)
    for name, old in earlier.weights.items():
        if name in rows_of and name in weights:
            new_ids, old_ids = rows_of[name]
            place = {str(identity): row for row, identity in enumerate(old_ids)}
            source = np.array(
                [place.get(str(identity), -1) for identity in new_ids], dtype=np.int64
            )
            found = torch.from_numpy(np.flatnonzero(source >= 0))
            weights[name][found] = old[torch.from_numpy(source)[found]]
        elif name in weights and weights[name].shape == old.shape:
            weights[name].copy_(old)


def _fingerprint(*parts: object) -> str:
    """Return a short digest of settings and arrays, the name of the run's checkpoint."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()[:24]


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"Expected saved towers in {folder} (got {error}); name a folder written by save"
        ) from error
    if not isinstance(content, dict) or content.get("name") != name:
        raise ArtifactError(f"Expected a saved '{name}' in {path}, got another model")
    if content.get("schema_version") not in _READABLE:
        raise ArtifactError(
            f"Expected a schema version out of {_READABLE}, got {content.get('schema_version')} in "
            f"{path}; train again with this version of kgrec"
        )
    return content


def _restore(
    config: TowersConfig, content: Mapping[str, Any], arrays: Mapping[str, Tensor]
) -> _Fitted:
    profiles = Profiles(
        text=arrays["profiles.text"],
        numeric=arrays["profiles.numeric"],
        codes=arrays["profiles.codes"],
        vocabulary=content["vocabulary"],
    )
    weights = {
        name.removeprefix("weights."): value
        for name, value in arrays.items()
        if name.startswith("weights.")
    }
    users = UserTower(config, profiles, arrays.get("event_codes"))
    prefix = "users."
    users.load_state_dict(
        {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
    )
    return _Fitted(
        items=arrays["items"],
        users=users.eval(),
        profiles=profiles,
        weights=weights,
        item_ids=_ids(content.get("item_ids"), "items", arrays),
        entity_ids=_ids(content.get("entity_ids"), "entities", arrays),
        best_steps=int(content["best_steps"]),
        curve=tuple(CurvePoint(**point) for point in content["curve"]),
        entity_starts=arrays.get("entity_starts"),
    )


def _ids(told: list[str] | None, name: str, arrays: Mapping[str, Tensor]) -> StringColumn:
    if told is not None:
        return StringColumn.of(told)
    return StringColumn(arrays[f"ids.{name}.letters"].numpy(), arrays[f"ids.{name}.bounds"].numpy())
