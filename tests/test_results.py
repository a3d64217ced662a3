"""The documents' tables and figures against the files they are made from."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, refused
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agent.observations import ObservationNormalizer
from agent.plan import resolve
from agent.sac import SAC
from configs import MT10, MT50, UsageError, load_config
from docs.build import comparison, run_tables
from docs.build.__main__ import DOCUMENTS, make_tables
from docs.build.figures import draw_comparison, draw_on_published, draw_soak
from docs.build.markdown import insert_tables
from docs.build.published import read_published, read_published_tasks
from docs.build.reliability import read_soak
from docs.build.runs import RESULTS, Run, run_names
from envs import ACTION_SIZE, OBS_SIZE, GoalLists, MetaWorldVectorEnv
from reporting import plots
from reporting.plots import plot, read_curves
from sweeps.answer import write_answer
from sweeps.definition import read_sweep
from sweeps.runs import runs_of
from training.streams import seed_streams, torch_generator

_tables = functools.cache(make_tables)  # seconds, and the same for every document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_tables_in_the_documents_are_those_of_the_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- table " in text
    assert insert_tables(text, _tables()) == text, "run `python -m docs.build`"


def test_the_studys_answer_is_that_of_its_runs(tmp_path: Path) -> None:
    folder = RESULTS / "sweeps" / "study"
    sweep = read_sweep(ROOT / "examples" / "study.yaml")
    write_answer(sweep, runs_of(sweep, folder), tmp_path)
    for file in ("arms.csv", "comparisons.csv", "tasks.csv"):
        assert (tmp_path / file).read_text() == (folder / file).read_text()


def test_every_run_with_a_report_is_found() -> None:
    names = run_names()
    assert {"mt10", "mlp", "quick"} <= set(names)
    assert "paper_start" not in names  # it never came to a report


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        insert_tables("<!-- table nonsense -->\n<!-- end -->", {"other": ""})


def test_the_published_figures_are_those_of_the_publication() -> None:
    # Iyer et al. 2022: 87.5 and 76.6 % over ten runs, from the last ten evaluations; spread: docs/fidelity.md
    curves = read_published()
    for network, mean, spread in (("active_dendrites", 0.875, 0.075), ("mlp", 0.766, 0.101)):
        steps, success = curves[network]
        assert success.shape == (10, 300)
        assert steps[-1] == pytest.approx(15e6, rel=0.01)
        of_runs = success[:, -10:].mean(axis=1)
        assert of_runs.mean() == pytest.approx(mean, abs=0.005)
        assert of_runs.std(ddof=1) == pytest.approx(spread, abs=0.0005)
        by_task = read_published_tasks()[network]
        assert np.mean(list(by_task.values())) == pytest.approx(mean, abs=0.005)


def test_brcs_curve_counts_the_steps_of_all_ten_tasks() -> None:
    steps, success = read_published()["brc"]
    assert success.shape == (5, 20)
    by_step = dict(zip(steps.tolist(), success.mean(axis=0), strict=True))
    assert by_step[1_000_000] == pytest.approx(0.702)  # five seeds: 67, 66, 78, 55 and 85 %
    assert by_step[2_000_000] == pytest.approx(0.92)


def test_a_tuning_table_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["a,0,100,10,0.1", "a,0,200,20,0.3", "a,0,300,30,0.5", "b,0,100,10,0.9"]
    header = "change,seed,env_steps,gradient_steps,train_success_rate"
    (tmp_path / "short.csv").write_text("\n".join([header, *rows]) + "\n")
    monkeypatch.setattr(run_tables, "RESULTS", tmp_path)
    table = run_tables.tuning_table("short", "gradient_steps", (10, 30), window=20)
    first, *others = cells(table)
    assert first == ["change", "10", "30"]
    assert others == [["a", "10%", "40%"], ["b", "90%", ""]]  # 40: mean of the rows at 20 and 30


def make_run(
    seed: int,
    hours: float = 1.0,
    on_the_way: float = 0.4,
    final: float = 0.5,
    dead: float = 0.0,
    names: tuple[str, ...] = MT10,
) -> Run:
    interval = final - 0.1, final + 0.1
    tasks = {task: {"success_rate": final} for task in names}
    return Run(
        seed=seed,
        env_steps=np.array([100, 200]),
        hours=np.array([hours / 2, hours]),
        success=np.array([on_the_way - 0.1, on_the_way + 0.1]),
        report={
            "mean_success_rate": final,
            "mean_success_rate_ci95": interval,
            "env_steps_trained": 200,
            "goals": 50,
            "tasks": tasks,
        },
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
    _, own, other = cells(comparison.success_table(runs))
    # seeds without a spread have no interval
    assert own == ["dendrites, k-winners", "50.0%", "", "40.0%", ""]
    half = 100 * 4.303 * 0.1 / np.sqrt(3)
    assert other[1] == f"50.0% ({50 - half:.1f}% to {50 + half:.1f}%)"
    assert other[2] == f"+0.0 ({-half:+.1f} to {half:+.1f})"
    assert other[4] == "+0.0"

    header, own, other = cells(comparison.costs_table(runs))
    assert header[2].startswith("success after 1.00 h")  # when the fastest run was done
    assert own[1:] == ["1.00", "50.0%", "", "1.0%"]
    assert other[1:3] == ["2.00", "30.0%"]  # half way, the first of its evaluations
    assert other[3] == "-20.0"
    assert other[4] == "25.0%"

    assert cells(comparison.tasks_table(runs))[1] == [
        "reach",
        "50% (50, 50, 50)",
        "50% (40, 50, 60)",
    ]


def test_tables_of_one_run_on_fifty_tasks() -> None:
    """Names come from the report; published figures stand where there are any, on MT10's tasks."""
    run = make_run(0, names=MT50)
    rows = {row[0]: row[1:] for row in cells(run_tables.tasks_table([run]))[1:]}
    assert list(rows) == [task.removesuffix("-v3") for task in MT50]
    assert rows["assembly"] == ["50%", "", ""]
    published = read_published_tasks()["mlp"]["reach"]
    assert rows["reach"][2] == f"{published:.0%}"
    assert cells(run_tables.runs_table([run]))[1:] == [
        ["0", "200", "10", "1.00", "50.0%", "40.0% - 60.0%"]
    ]


def test_the_committed_comparison_is_between_equals() -> None:
    runs = comparison.read_comparison()  # raises where seeds or gradient steps differ
    assert [run.seed for run in runs["mlp"]] == [6, 7, 8]
    for own in runs.values():
        for run in own:
            np.testing.assert_array_equal(run.env_steps, runs["mlp"][0].env_steps)
            assert all(task["episodes"] == 50 for task in run.report["tasks"].values())


def observed(goal_lists: GoalLists, steps: int = 60) -> np.ndarray:
    """What random actions see in MT10, `[T, n, 39]`."""
    random, seed = np.random.default_rng(0), seed_streams(6)["environments"]
    with MetaWorldVectorEnv(MT10, goal_lists, copies=2, seed=seed) as envs:
        seen = [envs.reset()]
        for _ in range(steps):
            actions = random.uniform(-1, 1, (len(MT10), 2, ACTION_SIZE)).astype(np.float32)
            seen.append(envs.step(actions).obs)
    return np.concatenate(seen, axis=1)


def test_the_compared_networks_start_as_the_document_says(goal_lists: GoalLists) -> None:
    """Spread of the untrained policies' means and standard deviations, as docs/results.md has them."""
    mt10, mlp = load_config("mt10"), load_config("mlp")
    configs = {
        (0.42, 1.0): mt10,
        (0.21, 1.0): replace(mt10, network=replace(mt10.network, activation="relu")),
        (0.45, 1.1): replace(mt10, network=replace(mt10.network, gating="gate_table")),
        (0.42, 0.9): mlp,
    }
    obs = observed(goal_lists)
    scale = ObservationNormalizer(mt10.normalization, len(MT10), OBS_SIZE)
    scale.observe(obs, np.ones(obs.shape[:2], bool))
    for expected, config in configs.items():
        spreads = []
        for run_seed in (6, 7, 8):
            weights = torch_generator(seed_streams(run_seed)["weights"])
            agent = SAC(resolve(config, torch.device("cpu")), weights)
            agent.observations.load_state_dict(scale.state_dict())
            mean = np.arctanh(agent.policy.act(obs, None))
            one_up = np.arctanh(agent.policy.act(obs, torch.ones(*obs.shape[:2], ACTION_SIZE)))
            spreads.append((mean.std(), np.median(one_up - mean)))
        np.testing.assert_allclose(np.mean(spreads, axis=0), expected, atol=0.06)


def is_picture(path: Path) -> bool:
    content = path.read_bytes()
    return content.startswith(b"\x89PNG") and len(content) > 10_000


def lines_of(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """x and y of every line."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


@pytest.mark.parametrize("names", [MT10, MT50], ids=["mt10", "mt50"])
def test_runs_are_drawn_on_the_published_curves_of_their_tasks(
    names: tuple[str, ...], tmp_path: Path, drawn: list[Figure]
) -> None:
    runs = [make_run(seed, hours=seed, names=names) for seed in (1, 2)]
    published = read_published()
    draw_on_published("quick", runs, published, tmp_path / "figure.png")
    assert is_picture(tmp_path / "figure.png")
    (figure,) = drawn
    by_steps, by_hours = (lines_of(axes) for axes in figure.axes)
    success = pytest.approx([0.3, 0.5])
    assert by_steps[-2:] == [([1e-4, 2e-4], success)] * 2
    assert by_hours[-2:] == [([0.5, 1.0], success), ([1.0, 2.0], success)]
    theirs = by_steps[:-2]
    assert len(theirs) == (len(published) if names == MT10 else 0)
    for (steps, rates), (x, y) in zip(published.values(), theirs, strict=False):
        np.testing.assert_allclose(x, steps / 1e6)
        np.testing.assert_allclose(y, rates.mean(axis=0))


def test_the_mean_of_a_network_is_drawn_over_its_seeds(tmp_path: Path, drawn: list[Figure]) -> None:
    one, other = make_run(1, on_the_way=0.4), make_run(2, on_the_way=0.6, hours=3.0)
    draw_comparison({"both": [one, other], "first": [one]}, tmp_path / "figure.png")
    assert is_picture(tmp_path / "figure.png")
    by_steps, by_hours = (lines_of(axes) for axes in drawn[0].axes)
    low, high, mean = (pytest.approx(rates) for rates in ([0.3, 0.5], [0.5, 0.7], [0.4, 0.6]))
    assert [y for _, y in by_steps] == [low, high, mean, low, low]
    assert by_hours[2] == ([1.0, 2.0], mean)


def test_the_soak_is_drawn(tmp_path: Path, drawn: list[Figure]) -> None:
    samples = read_soak()
    draw_soak(samples, tmp_path / "soak.png")
    assert is_picture(tmp_path / "soak.png")
    memory, speed, *_ = (lines_of(axes) for axes in drawn[0].axes)
    hours = list(samples["hours"])
    assert memory == [(hours, list(samples[name])) for name in ("trainer_mb", "workers_mb")]
    assert speed == [(hours, list(samples["env_steps_per_second"]))]


def write_metrics(path: Path, tasks: tuple[str, ...], evaluations: int) -> Path:
    names = ["eval/success_rate", *(f"eval/success_rate/{task}" for task in tasks)]
    lines = [",".join(["env_steps", "train/success_rate/reach-v3", *names])]
    for index in range(evaluations):
        rates = [str(min(1.0, 0.1 * index))] * len(names)
        lines.append(",".join([str(1000 * index), "0.5", *[""] * len(names)]))  # no evaluation
        lines.append(",".join([str(1000 * index + 500), "0.5", *rates]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("evaluations", [1, 2, 12])
@pytest.mark.parametrize("tasks", [("reach-v3",), MT10, MT50[:11], MT50], ids=len)
def test_a_runs_curves_are_drawn(tasks: tuple[str, ...], evaluations: int, tmp_path: Path) -> None:
    curves = read_curves(write_metrics(tmp_path / "metrics.csv", tasks, evaluations))
    assert list(curves) == ["", *tasks]
    assert curves[tasks[-1]][-1] == (1000 * evaluations - 500, min(1.0, 0.1 * (evaluations - 1)))
    plot(curves, tmp_path / "curve.png")
    assert is_picture(tmp_path / "curve.png")


def test_the_curves_of_the_policy_that_comes_along() -> None:
    curves = read_curves(ROOT / "pretrained/mt10/metrics.csv")
    assert list(curves) == ["", *MT10]
    assert curves[""][-1] == (3_000_450, 1.0)


def test_of_tasks_one_after_the_other_the_mean_is_drawn_where_all_have_played(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.csv"
    rows = ("1,0.8,0.8,", "2,0.5,0.9,0.1", "3,0.2,,0.2", "4,0.6,0.8,0.4")
    header = "env_steps,eval/success_rate,eval/success_rate/a,eval/success_rate/b"
    path.write_text("\n".join((header, *rows)) + "\n")
    curves = read_curves(path)
    assert curves[""] == [(2, 0.5), (4, 0.6)]
    assert curves["a"] == [(1, 0.8), (2, 0.9), (4, 0.8)]


def test_rows_of_the_heat_map_by_hand() -> None:
    tasks = {"worse": [(1, 1.0), (3, 0.1)], "later": [(1, 0.0), (3, 0.9)], "sooner": [(3, 0.9)]}
    tasks["best"] = [(1, 0.0), (3, 1.0)]
    names, steps, rates = plots._as_grid(tasks)
    assert names == ["best", "later", "sooner", "worse"]
    assert steps.tolist() == [1, 3]
    np.testing.assert_array_equal(rates, [[0, 1], [0, 0.9], [np.nan, 0.9], [1, 0.1]])
    np.testing.assert_array_equal(plots._edges(np.array([1.0, 3.0, 4.0])), [0, 2, 3.5, 4.5])
    np.testing.assert_array_equal(plots._edges(np.array([2.0])), [1.5, 2.5])


@pytest.mark.parametrize(
    ("header", "row", "problem"),
    [
        ("env_steps," + ",".join(f"eval/success_rate/t{i}" for i in range(51)), "", "50 tasks"),
        ("env_steps" + ",x" * 2000, "", "2000 columns"),
        ("env_steps,eval/success_rate", "1,1.5", "success 1.5"),
        ("env_steps,eval/success_rate", "-1,0.5", "at step -1"),
        ("env_steps,eval/success_rate", "1,nan", "success nan"),
        ("eval/success_rate", "0.5", "env_steps"),
        ("gradient_steps,eval/accuracy", "1,0.5", "no column env_steps; only runs of train_mt10"),
    ],
)
def test_what_is_no_metrics_csv_is_refused(
    header: str, row: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "metrics.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(UsageError, match=problem):
        read_curves(tmp_path / "metrics.csv")
    with pytest.raises(UsageError, match=r"a folder; give .*metrics\.csv"):
        read_curves(tmp_path)


def test_a_metrics_csv_may_end_in_the_middle_of_a_row_and_have_no_evaluation(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("env_steps,eval/success_rate,loss\n1,0.5,2\n2,0.")
    assert read_curves(path) == {"": [(1, 0.5)]}
    path.write_text("env_steps,eval/success_rate/$\\frac$\n1,0.5\n")
    assert read_curves(path) == {}
    assert "no evaluation in it yet" in refused(plots.main, path)
