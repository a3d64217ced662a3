"""How far a run has come: when something is due, and what a checkpoint may say about it."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import Config, UsageError, load_config
from training.progress import Progress, parse_progress, updates_due


def settings(updates: float, interval: int = 1, random_env_steps: int = 0) -> Config:
    """Ten tasks with two copies each: a vector step is 20 environment steps."""
    smoke = load_config("smoke")
    return replace(
        smoke,
        training=replace(
            smoke.training, updates_per_vector_step=updates, update_interval_vector_steps=interval
        ),
        exploration=replace(smoke.exploration, random_env_steps=random_env_steps),
    )


# --- gradient steps ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "due"),
    [
        (settings(1), [0, 1, 2, 3, 4, 5, 6]),
        (settings(2), [0, 2, 4, 6, 8, 10, 12]),
        (settings(0.5), [0, 0, 1, 1, 2, 2, 3]),
        (settings(1, random_env_steps=60), [0, 0, 0, 0, 1, 2, 3]),
        (settings(1, random_env_steps=59), [0, 0, 0, 0, 1, 2, 3]),
        (settings(1, random_env_steps=40), [0, 0, 0, 1, 2, 3, 4]),
        (settings(1, interval=3), [0, 0, 0, 3, 3, 3, 6]),
        (settings(0.5, interval=3), [0, 0, 0, 1, 1, 1, 3]),
        (settings(1, interval=2, random_env_steps=60), [0, 0, 0, 0, 1, 1, 3]),
    ],
)
def test_gradient_steps_by_hand(config: Config, due: list[int]) -> None:
    assert [updates_due(20 * n, config) for n in range(7)] == due


def test_the_papers_bursts_are_250_steps_every_500() -> None:
    paper = load_config("paper")
    due = [updates_due(10 * n, paper) for n in range(2001)]
    assert {n: due[n] for n in range(1, 2001) if due[n] != due[n - 1]} == {
        500: 250,
        1000: 500,
        1500: 750,
        2000: 1000,
    }


@given(
    updates=st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(5, 2)]),
    interval=st.integers(1, 7),
    random_steps=st.integers(0, 300),
    done=st.integers(0, 200),
)
def test_gradient_steps_are_never_ahead_and_less_than_an_interval_behind(
    updates: Fraction, interval: int, random_steps: int, done: int
) -> None:
    config = settings(float(updates), interval, random_steps)
    learning = max(0, done - math.ceil(random_steps / 20))
    due = updates_due(20 * done, config)
    assert due <= updates * learning
    assert due > updates * (learning - interval) - 1
    assert due <= updates_due(20 * done + 1, config)


# --- rows, evaluations, checkpoints --------------------------------------------------------------


def test_something_is_due_once_for_every_multiple_that_has_passed() -> None:
    progress, at = Progress(), []
    for env_steps in range(20, 401, 20):
        progress.env_steps = env_steps
        if progress.is_due("log", 50):
            at.append(env_steps)
            progress.last_log_env_steps = env_steps
    assert at == [60, 100, 160, 200, 260, 300, 360, 400]


def test_an_interval_below_a_step_is_due_at_every_step() -> None:
    progress = Progress(env_steps=40, last_evaluation_env_steps=20)
    assert progress.is_due("evaluation", 1)
    assert progress.is_due("evaluation", 20)
    assert not progress.is_due("evaluation", 50)
    assert not Progress().is_due("checkpoint", 1)


def test_a_resumed_run_writes_its_next_row_after_the_last() -> None:
    """TensorBoard hides earlier events from the next row's step on."""
    assert Progress(env_steps=400, last_log_env_steps=300).next_row_env_steps == 400
    assert Progress(env_steps=400, last_log_env_steps=400).next_row_env_steps == 401
    assert Progress(env_steps=400, last_evaluation_env_steps=400).next_row_env_steps == 401


# --- what a checkpoint says ----------------------------------------------------------------------


def test_progress_survives_a_checkpoint() -> None:
    progress = Progress(
        env_steps=820, vector_steps=205, best_success_rate=0.25, elapsed_hours=1 / 3
    )
    assert parse_progress(asdict(progress), "it") == progress
    assert parse_progress({}, "it") == Progress()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"env_steps": -1}, "env_steps: input should be greater than or equal to 0"),
        ({"env_steps": "20"}, "env_steps: input should be a valid integer"),
        ({"env_steps": 1.5}, "env_steps: input should be a valid integer"),
        ({"env_steps": True}, "env_steps: input should be a valid integer"),
        ({"episodes": 2**60}, "episodes: input should be less than or equal to"),
        ({"best_success_rate": 2}, "best_success_rate: input should be less than or equal to 1"),
        ({"elapsed_hours": float("nan")}, "elapsed_hours"),
        ({"steps": 1}, "steps: "),
    ],
)
def test_progress_that_cannot_be_is_refused(changed: dict, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_progress({**asdict(Progress()), **changed}, "state.json")
    assert str(caught.value).startswith(f"state.json: progress: {says}")


@pytest.mark.parametrize("data", [None, [], 3, "text"])
def test_what_is_no_progress_at_all_is_refused(data: object) -> None:
    with pytest.raises(UsageError, match=r"^state\.json: progress: all of them: "):
        parse_progress(data, "state.json")
