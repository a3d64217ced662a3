"""The answer of a sweep: from run folders of known numbers to sentences, CSV and page."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from configs import dump_config
from configs.errors import UsageError
from configs.loading import load_config
from docs.build.sweeps import draw_sweeps, sweep_tables
from reporting.comparison import compare
from sweeps.answer import verdict_of, write_answer
from sweeps.definition import Sweep
from sweeps.execution import BEGUN
from sweeps.forecast import describe_sweep
from sweeps.pictures import curves
from sweeps.results import mean_of_curve, results_of
from sweeps.runs import Run, progress_of, runs_of
from sweeps.tasks import heat_map, task_results

SWEEP = Sweep(
    arms={"a": None, "b": {"network": {"activation": "relu"}}}, seeds=[1, 2, 3], config="smoke"
)

TASKS = load_config("smoke").env.task_names
COLUMNS = tuple(f"eval/success_rate/{task}" for task in TASKS)


def finish(run: Run, rates: Sequence[float], final: float) -> None:
    """What a run leaves: evaluations at steps 500, 1000, ..., an hour each."""
    run.folder.mkdir(parents=True)
    run.log.parent.mkdir(exist_ok=True)
    (run.folder / "config.yaml").write_text(dump_config(load_config("smoke")))
    columns = ("env_steps", "eval/success_rate", *COLUMNS, "time/elapsed_hours")
    lines = [",".join(columns)]
    for index, rate in enumerate(rates):
        of_tasks = ",".join(f"{min(1.0, rate * (0.5 + place % 2))}" for place in range(len(TASKS)))
        lines += [f"{500 * index + 250},," + "," * len(TASKS)]
        lines += [f"{500 * (index + 1)},{rate},{of_tasks},{index + 1}"]
    (run.folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    tasks = {task: {"success_rate": final} for task in TASKS}
    report = {"mean_success_rate": final, "tasks": tasks}
    (run.folder / "report.json").write_text(json.dumps(report))
    places = ("one", "one", "two")
    run.log.write_text("".join(f"{BEGUN}2026-01-01 on {place}: python x\n" for place in places))


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    found = runs_of(SWEEP, tmp_path / "sweeps" / "ideas")
    for run in found:
        shift = (0, 0.02, -0.02)[run.seed - 1]  # in both arms: differences are of the same seed
        shift += 0.0 if run.arm == "a" else 0.3 + 0.01 * run.seed
        finish(run, [0.1 + shift, 0.2 + shift, 0.4 + shift, 0.6 + shift], 0.5 + shift)
    return found


def test_a_runs_result(runs: list[Run]) -> None:
    first = results_of(runs)[0]
    # trapezoids of half a thousand steps from (0, 0): 0.05, 0.15, 0.3, 0.5, and four of them
    assert first.area == pytest.approx((0.05 + 0.15 + 0.3 + 0.5) / 4)
    assert (first.final, first.hours, first.places) == (0.5, 4.0, ("one", "two"))
    assert first.reached == ((2000.0, 4.0), None, None)
    assert progress_of(runs[0]).fraction == 1.0


def test_each_tasks_result_and_its_table(runs: list[Run], tmp_path: Path) -> None:
    """`finish` lets every other task have half the mean in evaluations, and the rest three halves of it."""
    first = results_of(runs)[0]
    assert first.tasks["reach-v3"] == pytest.approx((first.area / 2, 0.5))
    assert first.tasks["push-v3"] == pytest.approx((1.5 * first.area, 0.5))
    path = runs[0].folder / "report.json"
    report = json.loads(path.read_text())
    report["tasks"]["reach-v3"]["success_rate"] = 0.2
    path.write_text(json.dumps(report))
    assert "tasks.csv" in write_answer(SWEEP, runs, tmp_path)
    rows = list(csv.DictReader((tmp_path / "tasks.csv").open()))
    assert [(row["arm"], row["seed"], row["task"]) for row in rows[:3]] == [
        ("a", "1", "reach-v3"),
        ("a", "1", "push-v3"),
        ("a", "1", "pick-place-v3"),
    ]
    assert (rows[0]["final"], len(rows)) == ("0.2", 6 * len(TASKS))
    picture = heat_map(task_results(results_of(runs)), "final")
    assert picture.table.headers == ("task", "a", "b")
    b = f"{0.8 + 0.01 * 2:.1%}"
    assert picture.table.rows[:2] == [
        ("reach-v3", "40.0% (2 of 3)", b),  # 0.2, 0.52, 0.48
        ("push-v3", "50.0% (1 of 3)", b),  # 0.5, 0.52, 0.48
    ]


def test_nine_of_ten_are_90_percent_for_a_sum_that_is_rounded(runs: list[Run]) -> None:
    rates = [1.0, 1.0, 0.8, 0.8, 0.8, 1.0, 1.0, 1.0, 1.0, 0.6]  # of five episodes each: 45 of 50
    mean = reduce(add, rates) / 10
    assert mean < 0.9
    shutil.rmtree(runs[0].folder)
    finish(runs[0], [0.5, mean, 0.8, 1.0], 1.0)
    assert results_of(runs)[0].reached == ((500.0, 1.0), (1000.0, 2.0), (2000.0, 4.0))


def test_a_row_of_an_evaluation_alone_has_the_hours_of_the_row_before(runs: list[Run]) -> None:
    """As where evaluations are not due together with other metrics: only those have a time."""
    path = runs[0].folder / "metrics.csv"
    header = path.read_text().splitlines()[0]
    rows = ((0, "", 0.5), (500, 0.2, ""), (700, "", 1.5), (1000, 0.6, ""), (1500, 0.95, ""))
    lines = [
        f"{at},{','.join([f'{rate}'] * (1 + len(TASKS)))},{hours}"
        for at, rate, hours in (*rows, (2000, 0.9, 4.0))
    ]
    path.write_text("\n".join([header, *lines, ""]))
    first = results_of(runs)[0]
    assert first.steps.tolist() == [500, 1000, 1500, 2000]
    assert first.reached == ((1000.0, 1.5), (1500.0, 1.5), None)
    assert first.hours == 4.0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", b"{}"),
        ("report.json", b'{"mean_success_rate": null}'),
        ("report.json", b'{"mean_success_rate": 1, "tasks": null}'),
        ("report.json", b'{"mean_success_rate": 1, "tasks": {"reach-v3": {"success_rate": 1}}}'),
        ("report.json", b'{"mean_success_rate": NaN, "tasks": {}}'),
        ("report.json", b'{"mean_success_rate": 92, "tasks": {}}'),
        ("metrics.csv", b"steps\n2000\n"),
        ("metrics.csv", b"env_steps\n2000\n" + b"9" * 200_000 + b"\n"),
        ("metrics.csv", b"env_steps,eval/success_rate,time/elapsed_hours\n2000,\xff,1\n"),
    ],
)
def test_files_of_something_else_get_one_line(runs: list[Run], name: str, content: bytes) -> None:
    (runs[0].folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"a-seed1: report\.json and metrics\.csv are not"):
        results_of(runs)


@pytest.mark.parametrize(
    ("name", "word", "number", "said"),
    [
        ("report.json", '"mean_success_rate": 0.5', '"mean_success_rate": NaN', "a rate of nan"),
        ("report.json", '"success_rate": 0.5', '"success_rate": 50', "a rate of 50"),
        ("metrics.csv", "\n1000,0.2", "\n1000,nan", "a rate of nan"),
        ("metrics.csv", "\n1000,0.2", "\n1000,-0.2", "a rate of -0.2"),
        ("metrics.csv", "\n1000,", "\n500,", "evaluations are there twice"),
    ],
)
def test_a_number_that_no_run_has_decides_nothing(
    runs: list[Run], name: str, word: str, number: str, said: str
) -> None:
    path = runs[0].folder / name
    assert word in path.read_text()
    path.write_text(path.read_text().replace(word, number))
    with pytest.raises(UsageError, match="are not those of a finished run") as error:
        results_of(runs)
    assert said in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\n1\n", b"env_steps\nsoon\n", b"9" * 200_000 + b"\n1\n"])
def test_a_damaged_file_of_a_run_under_way_ends_nothing(runs: list[Run], content: bytes) -> None:
    """The live table reads it twice a second."""
    (runs[0].folder / "report.json").write_text("[" * 100_000)
    (runs[0].folder / "metrics.csv").write_bytes(content)
    assert runs[0].state == "begun"
    assert progress_of(runs[0]).fraction == 0.0


def test_runs_of_a_seed_that_were_not_made_alike_are_named(runs: list[Run], tmp_path: Path) -> None:
    def was_on(name: str, *rows: str) -> None:
        header = "begun_utc,code,processor,device,precision,threads"
        text = "".join(f"{row}\n" for row in (header, *rows))
        next(run for run in runs if run.name == name).folder.joinpath("sessions.csv").write_text(
            text
        )

    here = "c0de,Z80,cpu,torch.float32,1"
    assert "made alike: not known of all: 6 runs have no" in write_answer(SWEEP, runs, tmp_path)
    was_on("a-seed1", f"2026,{here}", f"2027,{here}")
    was_on("b-seed1", f"2028,{here}")
    said = write_answer(SWEEP, runs, tmp_path)
    assert "made alike: not known of all: 4 runs have no" in said
    assert "not all runs" not in said
    was_on("a-seed2", f"2026,{here}", "2026,c0de,Z80,H100,torch.bfloat16,4")
    said = write_answer(SWEEP, runs, tmp_path)
    assert "made alike: not all runs of seed 2: device, precision, threads (sessions.csv)." in said
    was_on("b-seed3", f"2026,{here}")
    was_on("a-seed3", "2026,c0de-dirty,Z80,cpu,torch.float32,1")
    assert "of seeds 2, 3: code, device, precision" in write_answer(SWEEP, runs, tmp_path)
    with (tmp_path / "runs.csv").open() as file:
        rows = {f"{row['arm']}{row['seed']}": row for row in csv.DictReader(file)}
    assert (rows["a1"]["processors"], rows["a1"]["code"]) == ("Z80, float32, 1 thread", "c0de")
    assert rows["a2"]["processors"] == "Z80, float32, 1 thread; Z80, H100, bfloat16, 4 threads"
    assert (rows["b2"]["processors"], rows["a3"]["code"]) == ("", "c0de-dirty")
    page = (tmp_path / "report.html").read_text()
    assert "Z80, float32, 1 thread, then Z80, H100, bfloat16, 4 threads" in page


def test_the_mean_of_a_curve_is_its_numeric_integral() -> None:
    rng = np.random.default_rng(0)
    steps, rates = np.sort(rng.uniform(1, 100, 8)), rng.uniform(size=8)
    fine = np.linspace(0, steps[-1], 1_000_001)
    for from_zero, begin in ((True, 0.0), (False, steps[0])):
        xs, ys = (np.r_[0, steps], np.r_[0, rates]) if from_zero else (steps, rates)
        inside = fine[fine >= begin]
        expected = np.interp(inside, xs, ys).mean()
        assert mean_of_curve(steps, rates, from_zero) == pytest.approx(expected, abs=1e-4)


def test_the_answer_in_words_csv_and_on_a_page(runs: list[Run], tmp_path: Path) -> None:
    said = write_answer(SWEEP, runs, tmp_path)
    assert "b against a, at the end (secondary): +32.0 points (95 % +29.5 to +34.5;" in said
    assert "3 seeds). Decided: b is better." in said
    with (tmp_path / "comparisons.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["against"], row["measure"]) for row in rows] == [
        *(("b", "a", "area"), ("b", "a", "final"))
    ]
    assert float(rows[1]["difference"]) == pytest.approx(0.32)
    assert {row["verdict"] for row in rows} == {"more"}
    with (tmp_path / "arms.csv").open() as file:
        arms = {row["arm"]: row for row in csv.DictReader(file)}
    assert float(arms["a"]["final"]) == 0.5
    # b reaches 90 % in its last evaluation with every seed: 0.6 + 0.31, 0.34, 0.31
    assert (arms["b"]["reached_90%"], float(arms["b"]["steps_to_90%"])) == ("3", 2000.0)
    assert (arms["a"]["reached_90%"], arms["a"]["steps_to_90%"]) == ("0", "nan")
    page = (tmp_path / "report.html").read_text()
    assert "one, then two" in page
    assert "Decided: b is better." in page


def test_the_tables_of_the_documents_have_the_answer(runs: list[Run], tmp_path: Path) -> None:
    out = tmp_path / "answers" / "ideas"
    out.mkdir(parents=True)
    write_answer(SWEEP, runs, out)
    tables = sweep_tables(tmp_path / "answers")
    cells = {
        name: [
            [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]
        ]
        for name, text in tables.items()
    }
    arm, n, area, final, minutes, steps = cells["ideas-arms"][1]
    # b: 0.5 + 0.31, 0.34, 0.31 at the end; Student's t with 2 degrees of freedom: 4.3027 * 0.01
    assert (arm, n, final, minutes) == ("b", "3", "82.0% (77.7% to 86.3%)", "240.0")
    assert area.startswith("53.0% ")  # trapezoids: 0.25 + 0.875 * 0.32
    assert steps == "2,000 (3 of 3)"
    assert cells["ideas-arms"][0][-1] == "0 of 3 reached it"
    (_, at_the_end) = cells["ideas-comparisons"]
    assert at_the_end == [
        *("b against a", "at the end", "+32.0", "+29.5 to +34.5", "+29.5 to +34.5", "3", "better")
    ]


def test_curves_have_a_row_for_each_evaluation(runs: list[Run]) -> None:
    """Though those of another run wait for the end of another chunk, a few steps later."""
    first, *others = results_of(runs)
    shifted = [replace(other, steps=other.steps + 10) for other in others]
    table = curves("train_mt10.py", [first, *shifted]).table
    assert [row[0] for row in table.rows] == ["500", "1,000", "1,500", "2,000"]
    # with three seeds: 0.4 exactly, and twice a fiftieth of the way back to 0.2
    assert table.rows[2][1].startswith("39.7% (")
    assert all(all(row) for row in table.rows)


def test_the_pictures_of_the_documents_are_drawn_from_the_runs(
    runs: list[Run], tmp_path: Path, drawn: list[Figure]
) -> None:
    (tmp_path / "sweeps" / "ideas" / "sweep.yaml").write_text(
        "config: smoke\narms: {a: {}, b: {network: {activation: relu}}}\nseeds: [1, 2, 3]\n"
    )
    images = tmp_path / "images"
    images.mkdir()
    draw_sweeps(images, ["ideas"], tmp_path / "sweeps")
    names = sorted(path.name for path in images.iterdir())
    assert names == ["ideas-curves.png", "ideas-differences.png", "ideas-tasks.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in images.iterdir())
    in_time, compared, by_task = (figure.axes[0] for figure in drawn)
    first, other = in_time.lines
    assert list(first.get_ydata()) == pytest.approx([10, 20, 40, 60])
    assert list(other.get_ydata()) == pytest.approx([42, 52, 72, 92])
    # 0.32 all the time but for the way from 0, the first quarter, which counts half
    assert list(compared.lines[0].get_xdata()) == pytest.approx([100 * 0.32 * 7 / 8])
    assert by_task.images[0].get_array().shape == (len(TASKS), 2)


def test_seeds_that_one_arm_lacks_count_in_no_difference(runs: list[Run], tmp_path: Path) -> None:
    (runs[-1].folder / "report.json").write_text('{"mean_success')  # killed while it wrote
    assert runs[-1].state == "begun"
    said = write_answer(SWEEP, runs, tmp_path)
    assert "done: 5 of 6 runs." in said
    assert "2 seeds). Undecided" in said


def test_the_planned_comparisons_count_before_their_arms_have_runs(
    runs: list[Run], tmp_path: Path
) -> None:
    """The intervals of b against a are as wide when the runs of c are still to come."""
    three = replace(SWEEP, arms={**SWEEP.arms, "c": None})
    write_answer(three, [*runs, *runs_of(three, tmp_path)[2::3]], tmp_path)
    (_, row) = csv.DictReader((tmp_path / "comparisons.csv").open())
    test = stats.ttest_1samp([0.31, 0.32, 0.33], 0.0)
    low, high = test.confidence_interval(1 - 0.05 / 2)
    assert float(row["corrected_high"]) - float(row["corrected_low"]) == pytest.approx(high - low)
    assert float(row["p_different"]) == pytest.approx(2 * test.pvalue)


def test_a_run_whose_curve_was_cut_on_the_way_is_refused(runs: list[Run]) -> None:
    path = runs[1].folder / "metrics.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    with pytest.raises(UsageError, match=r"b-seed1/metrics.csv: ends at 1,500 of 2,000") as error:
        results_of(runs)
    assert "\n" not in str(error.value)
    path.write_text(path.read_text() + "1900,,\n")  # the row at 2,000 was due
    with pytest.raises(UsageError, match="ends at 1,900 of 2,000"):
        results_of(runs)
    path.unlink()
    with pytest.raises(UsageError, match="ends at 0 of 2,000, and yet"):
        results_of(runs)
    rare = replace(load_config("smoke").recording, log_interval_env_steps=10**6)
    config = replace(load_config("smoke"), recording=rare)
    (runs[1].folder / "config.yaml").write_text(dump_config(config))
    with pytest.raises(UsageError, match="ends at 0 of 2,000, and yet"):
        results_of(runs)  # the evaluation at 2,000 was due


def test_what_holms_method_alone_decides_is_said_so() -> None:
    """Of two comparisons the second has to pass a t test at 5 % alone; its interval is for 2.5 %."""
    clear, weak = np.array([0.30, 0.31, 0.29, 0.30]), np.array([0.10, 0.17, 0.03, 0.20])
    found = compare({"clear": clear, "weak": weak})
    assert 0.025 < stats.ttest_1samp(weak, 0).pvalue < 0.05
    assert verdict_of("clear", "a", found["clear"], 4).endswith("Decided: clear is better.")
    assert verdict_of("weak", "a", found["weak"], 4).endswith(
        "Decided by Holm's correction alone: weak is better."
    )


def test_without_a_spread_there_is_no_interval(tmp_path: Path) -> None:
    """Two seeds that failed alike must not look like two that are certain."""
    two, three = (replace(SWEEP, seeds=seeds) for seeds in ([1, 2], [1, 2, 3]))
    runs = runs_of(three, tmp_path / "alike")
    for run in runs:
        finish(run, [0.0, 0.1, 0.5, 0.7], 1.0 if run.arm == "a" else 0.0)  # 3 x 0.1: not 0.3
    said = write_answer(two, [run for run in runs if run.seed < 3], tmp_path)
    assert "-100.0 points (no spread between 2 seeds, so no interval). Undecided: fewer" in said
    said = write_answer(three, runs, tmp_path)
    assert (
        "3 seeds, so no interval). Undecided: it takes at least about 3 more seeds, if the" in said
    )
    assert "nan" not in said
    assert "100.0% to 100.0%" not in said
    assert "0.0% to 0.0%" not in said
    page = (tmp_path / "report.html").read_text()
    assert "nan" not in re.sub(r"data:[^\"]*", "", page)
    assert "% to " not in page
    for row in csv.DictReader((tmp_path / "comparisons.csv").open()):
        assert (row["interval_low"], row["corrected_high"], row["bootstrap_low"]) == ("", "", "")
    six = compare({"b": np.full(6, -1.0)})["b"]
    assert verdict_of("b", "a", six, 6) == (
        "-100.0 points (no spread between 6 seeds, so no interval). Decided: a is better."
    )


def test_before_the_last_planned_seed_nothing_is_decided(runs: list[Run], tmp_path: Path) -> None:
    found = compare({"clear": np.array([0.30, 0.31, 0.29, 0.30])})["clear"]
    assert verdict_of("clear", "a", found, 5).endswith(
        "So far, with 4 of 5 seeds, which decides nothing: clear is better."
    )
    said = write_answer(replace(SWEEP, seeds=[1, 2, 3, 4]), runs, tmp_path)
    assert "So far, with 3 of 4 seeds, which decides nothing: b is better." in said
    assert "Decided" not in said
    assert "<td>so far more</td>" in (tmp_path / "report.html").read_text()
    rows = list(csv.DictReader((tmp_path / "comparisons.csv").open()))
    assert {(row["seeds"], row["planned_seeds"]) for row in rows} == {("3", "4")}


def test_one_arm_has_an_answer_and_no_comparison(runs: list[Run], tmp_path: Path) -> None:
    alone = replace(SWEEP, arms={"a": None})
    said = write_answer(alone, runs[::2], tmp_path)
    assert "done: 3 of 3 runs." in said
    assert "comparisons.csv" not in said
    assert not (tmp_path / "comparisons.csv").exists()
    assert "a, n = 3" in (tmp_path / "report.html").read_text()


def test_robots_one_after_the_other_are_measured_where_all_tasks_are(tmp_path: Path) -> None:
    """Within a phase its own task alone is evaluated: such rows would flatter the curve."""
    env = {"schedule": "one_by_one", "steps_per_task": 1000, "least_task_share": 1}
    in_phases = Sweep(
        arms={"a": None}, seeds=[1], config="smoke", settings={"env": env, "total_env_steps": 2000}
    )
    (run,) = runs_of(in_phases, tmp_path)
    finish(run, [1.0, 0.5, 0.8, 0.6], final=0.7)
    (found,) = results_of([run])
    assert found.steps.tolist() == [1000, 2000]
    assert found.rates == pytest.approx([0.5, 0.6])
    assert found.final == 0.7
    # from (0, 0) over (1000, 0.5) to (2000, 0.6)
    assert found.area == pytest.approx((0.25 + 0.55) / 2)
    assert found.reached == ((1000.0, 2.0), None, None)


@pytest.mark.parametrize(("total", "rates"), [(1500, [0.5]), (500, [0.7])])
def test_of_robots_one_after_the_other_that_ended_early_all_tasks_count(
    tmp_path: Path, total: int, rates: list[float]
) -> None:
    """Also those whose phase has not begun; before the end of the first phase there is the report alone."""
    env = {"schedule": "one_by_one", "steps_per_task": 1000, "least_task_share": 1}
    settings = {"env": env, "total_env_steps": total}
    short = Sweep(arms={"a": None}, seeds=[1], config="smoke", settings=settings)
    (run,) = runs_of(short, tmp_path)
    finish(run, [1.0, 0.5, 0.8][: total // 500], final=0.7)
    (found,) = results_of([run])
    assert found.rates.tolist() == rates


def test_permuted_images_are_measured_by_accuracy_after_each_task(tmp_path: Path) -> None:
    images = Sweep(
        arms={"a": None},
        seeds=[1],
        command="train_permuted_mnist.py",
        config="digits",
        settings={"data": {"num_tasks": 2}},
    )
    (run,) = runs_of(images, tmp_path)
    finish(run, [], final=0.0)
    lines = ["tasks_done,eval/accuracy,time/elapsed_hours", "1,0.9,0.1", "1,,0.15", "2,0.7,0.2"]
    (run.folder / "metrics.csv").write_text("\n".join(lines) + "\n3,0.8,0.")  # cut off
    (run.folder / "report.json").write_text(json.dumps({"acc": 0.65, "matrix": []}))
    (found,) = results_of([run])
    assert (found.steps.tolist(), found.rates.tolist()) == ([1, 2], [0.9, 0.7])
    assert found.area == pytest.approx(0.8)
    assert (found.final, found.reached, found.hours) == (0.65, (), 0.2)


def test_the_forecast_knows_the_hours_of_runs_that_are_done(tmp_path: Path) -> None:
    """Three runs of four hours in two places: eight hours, however short their mean is."""
    runs = runs_of(SWEEP, tmp_path / "two words")
    for run in runs[:3]:
        finish(run, [0.1, 0.2, 0.4, 0.6], 0.5)
    said = describe_sweep(SWEEP, runs, jobs=2, cores=1)
    assert "3 of 6 runs are left, of 1 core each: about 12 hours one by one, " in said
    assert "about 8 hours with 2 at a time" in said
    assert f"--out '{tmp_path}/two words/runs/b-seed2' " in said
    assert "about 4 hours with 3 at a time" in describe_sweep(SWEEP, runs, jobs=20, cores=1)


def test_no_run_done(tmp_path: Path) -> None:
    assert "There is no answer yet." in write_answer(SWEEP, runs_of(SWEEP, tmp_path), tmp_path)
