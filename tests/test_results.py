"""The documents' tables and figures against the files they are made from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from agent.observations import ObservationScale, observation_frame
from agent.sac import SAC
from agent.seeding import seed_streams, torch_generator
from configs import MT10_TASKS, load_config
from envs import ACTION_SIZE, OBS_SIZE, GoalLists, MT10VectorEnv
from reporting import comparison, results
from reporting.figures import draw_comparison, draw_on_published, draw_soak
from reporting.runs import Run


@pytest.mark.parametrize("name", results.DOCUMENTS)
def test_the_tables_in_the_documents_are_those_of_the_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- table " in text
    assert results.insert_tables(text, results.make_tables()) == text, "run `make results`"


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        results.insert_tables("<!-- table nonsense -->\n<!-- end -->", {"other": ""})


def test_the_published_figures_are_those_of_the_publication() -> None:
    # Iyer et al. 2022: 87.5 % (sd 7.1) and 76.6 % over ten runs, from the last ten evaluations
    curves = results.read_published()
    for network, mean in (("active_dendrites", 0.875), ("mlp", 0.766)):
        steps, success = curves[network]
        assert success.shape == (10, 300)
        assert steps[-1] == pytest.approx(15e6, rel=0.01)
        assert success[:, -10:].mean() == pytest.approx(mean, abs=0.005)
        by_task = results.read_published_tasks()[network]
        assert np.mean(list(by_task.values())) == pytest.approx(mean, abs=0.005)


def test_brcs_curve_counts_the_steps_of_all_ten_tasks() -> None:
    steps, success = results.read_published()["brc"]
    assert success.shape == (5, 20)
    by_step = dict(zip(steps.tolist(), success.mean(axis=0), strict=True))
    assert by_step[1_000_000] == pytest.approx(0.702)  # five seeds: 67, 66, 78, 55 and 85 %
    assert by_step[2_000_000] == pytest.approx(0.92)


def test_a_tuning_table_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["a,0,100,10,0.1", "a,0,200,20,0.3", "a,0,300,30,0.5", "b,0,100,10,0.9"]
    header = "change,seed,env_steps,gradient_steps,train_success_rate"
    (tmp_path / "short.csv").write_text("\n".join([header, *rows]) + "\n")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    table = results.tuning_table("short", "gradient_steps", (10, 30), window=20)
    first, *others = cells(table)
    assert first == ["change", "10", "30"]
    assert others == [["a", "10%", "40%"], ["b", "90%", ""]]  # 40: mean of the rows at 20 and 30


def make_run(seed: int, hours: float, on_the_way: float, final: float, dead: float) -> Run:
    tasks = {task: {"success_rate": final} for task in MT10_TASKS}
    return Run(
        seed=seed,
        env_steps=np.array([100, 200]),
        hours=np.array([hours / 2, hours]),
        success=np.array([on_the_way - 0.1, on_the_way + 0.1]),
        report={"mean_success_rate": final, "tasks": tasks},
        gradient_steps=10,
        dead_units=dead,
    )


def cells(table: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return rows[:1] + rows[2:]


def test_a_comparison_by_hand() -> None:
    # the t quantile of 95 % with two degrees of freedom is 4.303; values 10 points apart have s = 10
    runs = {
        "k_winners": [make_run(seed, 1.0, 0.4, 0.5, 0.01) for seed in (1, 2, 3)],
        "mlp": [make_run(seed, 2.0, 0.4, 0.3 + 0.1 * seed, 0.25) for seed in (1, 2, 3)],
    }
    _, own, other = cells(comparison.comparison_table(runs))
    assert own == ["dendrites, k-winners", "50.0% (50.0 to 50.0)", "", "40.0% (40.0 to 40.0)", ""]
    half = 100 * 4.303 * 0.1 / np.sqrt(3)
    assert other[1] == f"50.0% ({50 - half:.1f} to {50 + half:.1f})"
    assert other[2] == f"+0.0 ({-half:+.1f} to {half:+.1f})"
    assert other[4] == "+0.0 (+0.0 to +0.0)"

    header, own, other = cells(comparison.comparison_costs_table(runs))
    assert header[2].startswith("success after 1.00 h")  # when the fastest run was done
    assert own[1:] == ["1.00", "50.0% (50.0 to 50.0)", "", "1.0%"]
    assert other[1:3] == ["2.00", "30.0% (30.0 to 30.0)"]  # half way, the first of its evaluations
    assert other[3] == "-20.0 (-20.0 to -20.0)"
    assert other[4] == "25.0%"

    assert cells(comparison.comparison_tasks_table(runs))[1] == [
        "reach",
        "50% (50, 50, 50)",
        "50% (40, 50, 60)",
    ]


def test_the_committed_comparison_is_between_equals() -> None:
    runs = comparison.read_comparison()  # raises where seeds or gradient steps differ
    assert [run.seed for run in runs["mlp"]] == [6, 7, 8]
    for own in runs.values():
        for run in own:
            np.testing.assert_array_equal(run.env_steps, runs["mlp"][0].env_steps)
            assert all(task["episodes"] == 50 for task in run.report["tasks"].values())


def test_the_compared_networks_start_as_the_document_says(goal_lists: GoalLists) -> None:
    """Spread of the untrained policies' means and standard deviations, as docs/results.md has them."""
    random, device = np.random.default_rng(0), torch.device("cpu")
    mt10, mlp = load_config("mt10"), load_config("mlp")
    configs = {
        (0.42, 1.0): mt10,
        (0.21, 1.0): replace(mt10, network=replace(mt10.network, activation="relu")),
        (0.45, 1.1): replace(mt10, network=replace(mt10.network, gating="gate_table")),
        (0.42, 0.9): mlp,
    }
    tasks, frame = len(MT10_TASKS), observation_frame(mt10.agent.observation_frame, OBS_SIZE)
    scale = ObservationScale(tasks, OBS_SIZE, frame)
    seed = seed_streams(6)["environments"]
    with MT10VectorEnv(MT10_TASKS, goal_lists, copies=5, seed=seed) as envs:
        seen = [envs.reset()]
        for _ in range(60):
            envs.step_async(random.uniform(-1, 1, (tasks, 5, ACTION_SIZE)).astype(np.float32))
            seen.append(envs.step_wait().obs)
            scale.observe(seen[-1])
    obs = np.concatenate(seen, axis=1)  # [T, n, 39]
    for expected, config in configs.items():
        spreads = []
        for run_seed in (6, 7, 8):
            weights = torch_generator(seed_streams(run_seed)["weights"])
            agent = SAC(config, OBS_SIZE, ACTION_SIZE, device, weights)
            agent.set_observation_scale(scale)
            mean = np.arctanh(agent.act(obs, None))
            one_up = np.arctanh(agent.act(obs, torch.ones(*obs.shape[:2], ACTION_SIZE)))
            spreads.append((mean.std(), np.median(one_up - mean)))
        np.testing.assert_allclose(np.mean(spreads, axis=0), expected, atol=0.06)


def test_the_figures_are_drawn(tmp_path: Path) -> None:
    run = (0, np.array([1, 2]) * 100_000, np.array([0.1, 0.2]), np.array([0.3, 0.6]))
    out = tmp_path / "figure.png"
    draw_on_published("quick", [run], results.read_published(), out)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert out.stat().st_size > 10_000
    columns = (
        "hours",
        "trainer_mb",
        "workers_mb",
        "env_steps_per_second",
        "open_files",
        "processes",
    )
    draw_soak({name: np.arange(5.0) for name in (*columns, "run_folder_mb")}, out)
    assert out.stat().st_size > 10_000
    draw_comparison({"one": [run[1:], run[1:]], "other": [run[1:]]}, out)
    assert out.stat().st_size > 10_000
