"""Which of MuJoCo's two ways to draw without a screen works on this machine: EGL or OSMesa."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

from configs import UsageError

BACKENDS = ("egl", "osmesa")
_TRY = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><light/></worldbody></mujoco>")
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(mujoco.MjData(model))
    renderer.render()
"""


def find_backend() -> str:
    """The value of MUJOCO_GL that works: the user's own, else the first of `BACKENDS`.

    Each is tried in a process of its own, because it is chosen when mujoco is imported, and a broken driver
    may end the process.

    Raises:
        UsageError: none works, or there is nothing that writes videos.
    """
    if find_spec("imageio_ffmpeg") is None:
        raise UsageError("--video: needs imageio-ffmpeg; pip install '.[video]'")
    _require_ffmpeg()
    chosen = os.environ.get("MUJOCO_GL")
    candidates = (chosen,) if chosen else BACKENDS
    for backend in candidates:
        if _works(backend):
            return backend
    names = " and ".join(candidates)
    raise UsageError(
        f"--video: this machine can't draw without a screen ({names} failed); on Debian and Ubuntu: "
        "apt-get install libegl1 libgl1-mesa-dri, or libosmesa6"
    )


def _require_ffmpeg() -> None:
    """The package brings the program on most machines; elsewhere it is the system's, or IMAGEIO_FFMPEG_EXE's."""
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        done = subprocess.run([program, "-encoders"], capture_output=True, text=True, timeout=60)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--video: no ffmpeg ({error}); apt-get install ffmpeg") from error
    if "libx264" not in done.stdout:
        raise UsageError(f"--video: {program} has no libx264; apt-get install ffmpeg")


def _works(backend: str) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
