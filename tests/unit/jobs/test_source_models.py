"""What model a run's source is, and with which settings: tuned, given, or the project's."""

from __future__ import annotations

from kgrec.jobs.comparison import DEFAULT_SETTINGS, DEFAULT_SOURCES, model_of
from kgrec.retrieval.sources import ContentKernelConfig
from kgrec.tuning import TunedModel

TUNED = {
    "ease_session": TunedModel(
        model="ease",
        best_settings={"ridge": 50.0, "history_half_life_events": 5.0},
        best_value=0.2,
        best_number=0,
        cpu_s=1.0,
        trials=(),
    )
}


def test_settings_that_are_given_stand_above_tuned_ones() -> None:
    settings = {"ridge": 50.0, "history_half_life_events": 5.0}
    assert model_of("ease_session", TUNED, {}) == ("ease", settings)
    given = {"ease_session": {"ridge": 70.0}}
    assert model_of("ease_session", TUNED, given) == ("ease", {**settings, "ridge": 70.0})
    assert TUNED["ease_session"].best_settings == settings


def test_a_source_of_its_own_name_tells_its_model() -> None:
    given = {"transitions_day": {"model": "transitions", "window_events": 60}}
    assert model_of("transitions_day", TUNED, given) == ("transitions", {"window_events": 60})
    assert model_of("svd", TUNED, given) == ("svd", {})


def test_only_where_nothing_is_said_of_a_source_has_it_the_projects_settings() -> None:
    name, settings = model_of("content_kernel", TUNED, {})
    assert (name, settings) == ("content_kernel", DEFAULT_SETTINGS["content_kernel"])
    settings["ridge"] = 1.0
    assert DEFAULT_SETTINGS["content_kernel"]["ridge"] != 1.0
    given = {"content_kernel": {"ridge": 30.0}}
    assert model_of("content_kernel", TUNED, given) == ("content_kernel", {"ridge": 30.0})


def test_the_projects_settings_are_of_its_sources_and_fit_them() -> None:
    assert set(DEFAULT_SETTINGS) <= set(DEFAULT_SOURCES)
    assert ContentKernelConfig.model_validate(DEFAULT_SETTINGS["content_kernel"]).number_knots > 1
