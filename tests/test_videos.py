"""Videos of a real run, and its page in a real browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import succeed
from PIL import Image

import evaluate
from configs import UsageError
from envs import EpisodeResults, make_goal_lists
from envs.rollout import EpisodeSteps
from videos.backend import find_backend
from videos.films import tiled, write_films
from videos.replay import EVERY, SIZE

pytestmark = pytest.mark.slow

HORIZON = 25
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def shown(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation with everything."""
    try:
        find_backend()
    except UsageError as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("shown") / "out"
    flags = ("--goals", 2, "--workers", 1, "--out", out, "--analyze", "--page", "--video")
    succeed(evaluate.main, tiny_run, *flags, "--analysis-goals", 1)
    return out


def test_every_task_has_a_film_of_its_first_episode(shown: Path) -> None:
    tasks = json.loads((shown / "report.json").read_text())["tasks"]
    for task in tasks:
        frames = imageio_ffmpeg.read_frames(str(shown / "videos" / f"{task}.mp4"))
        facts = next(frames)
        assert facts["size"] == (SIZE, SIZE)
        pictures = [np.frombuffer(frame, np.uint8) for frame in frames]
        assert len(pictures) == -(-HORIZON // EVERY) + 1  # and the end
        assert pictures[-1].std() > 20  # something is to be seen ...
        assert (pictures[0] != pictures[-1]).mean() > 0.01  # ... and it moves


def test_the_mosaic_shows_all_tasks_and_is_small(shown: Path) -> None:
    path = shown / "videos" / "mosaic.webp"
    with Image.open(path) as mosaic:
        assert mosaic.n_frames > 1
        assert mosaic.width == 2 * mosaic.height
    assert path.stat().st_size < 5e6


def test_tiles_fill_rows_and_leave_the_rest_black() -> None:
    cells = [np.full((2, 2, 3), value, np.uint8) for value in (1, 2, 3)]
    grid = tiled(cells, columns=2)
    assert grid.shape == (4, 4, 3)
    np.testing.assert_array_equal(grid[::2, ::2, 0], [[1, 2], [3, 0]])


def test_without_ffmpeg_everything_else_is_written(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    out = tmp_path / "out"
    flags = ("--goals", 1, "--workers", 1, "--out", out, "--page", "--video")
    done = succeed(evaluate.main, tiny_run, *flags)
    assert "--video: no ffmpeg (" in done.stderr
    assert done.stderr.count("everything else is written") == 1
    assert (out / "report.html").is_file()
    assert not (out / "videos").exists()


def test_there_are_all_films_or_none(shown: Path, tmp_path: Path) -> None:
    """An episode that can't be played again ends them all, and leaves nothing half."""
    tasks = ("reach-v3", "drawer-close-v3")
    goals = make_goal_lists(tasks, seed=0)
    shape = (2, 1, 10)
    steps = EpisodeSteps(
        np.zeros((*shape, 39), np.float32),  # where no episode begins
        np.zeros((*shape, 4), np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, bool),
    )
    of_episodes = np.zeros((2, 1), np.int64)
    results = EpisodeResults(tasks, of_episodes, *[of_episodes] * 5, steps)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="differs"):
        write_films(results, goals, tmp_path / "videos", find_backend())
    assert list((tmp_path / "videos").iterdir()) == []


def test_without_a_way_to_draw_everything_else_is_written(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(UsageError, match="libosmesa6"):
        find_backend()
    out = tmp_path / "out"
    flags = ("--goals", 1, "--workers", 1, "--out", out, "--page", "--video")
    done = succeed(evaluate.main, tiny_run, *flags)
    assert done.stderr.count("can't draw without a screen") == 1
    assert (out / "report.html").is_file()
    assert not (out / "videos").exists()


@pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(shown: Path, width: int, scheme: str) -> None:
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    requests: list[str] = []
    url = (shown / "report.html").as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        page.wait_for_function("[...document.querySelectorAll('video')].every(v => v.duration > 0)")
        for summary in page.query_selector_all("summary"):
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # the colour that text has, and the page behind it
        text, behind = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        report = json.loads((shown / "report.json").read_text())
        rates = [f"{task['success_rate']:.1%}" for task in report["tasks"].values()]
        cells = page.locator("#s2 tbody td").all_inner_texts()
        assert [cell.split(" ")[0] for cell in cells[:-1]] == rates
        browser.close()
    assert not problems
    assert [address for address in requests if not address.startswith("data:")] == [url]
    assert (brightness(text) > brightness(behind)) == (scheme == "dark")
    assert (shown / "report.html").stat().st_size < 15e6


def brightness(colour: str) -> float:
    """Of `rgb(r, g, b)`."""
    return sum(map(float, colour[4:-1].split(",")))
