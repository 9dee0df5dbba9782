"""The towers' teacher has the settings that the run tuned, unless the configuration says others."""

from __future__ import annotations

import pytest

from kgrec.errors import ConfigError
from kgrec.jobs.settings import tuned_teacher
from kgrec.models.towers_config import TowersConfig
from kgrec.tuning import TunedModel

TUNED = {
    "ease_weighted": TunedModel(
        model="ease",
        best_settings={"ridge": 50.0, "user_exponent": 0.5},
        best_value=0.2,
        best_number=0,
        cpu_s=1.0,
        trials=(),
    )
}


def test_without_a_teacher_nothing_is_set() -> None:
    assert tuned_teacher(TowersConfig(), TUNED) == {}


def test_teacher_has_its_tuned_settings_and_those_of_the_configuration_above_them() -> None:
    towers = TowersConfig(teacher="ease_weighted", teacher_settings={"ridge": 70.0})
    settings = {"ridge": 70.0, "user_exponent": 0.5}
    assert tuned_teacher(towers, TUNED) == {"teacher": "ease", "teacher_settings": settings}


def test_teacher_that_was_not_tuned_has_its_defaults() -> None:
    found = tuned_teacher(TowersConfig(teacher="rp3_kg"), TUNED)
    assert found == {"teacher": "rp3_kg", "teacher_settings": {}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"teacher": "eaze"}, "Expected a baseline of"),
     ({"teacher": "ease", "teacher_settings": {"rigde": 1}}, "Expected settings of 'ease'")],
)  # fmt: skip
def test_wrong_teacher_is_refused_before_anything_is_fitted(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tuned_teacher(TowersConfig.model_validate(settings), TUNED)
