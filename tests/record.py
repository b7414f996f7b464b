"""Record the moving picture of the README, from a real JupyterLab: python tests/record.py.

It writes notebooks/images/board.webp, and says how large it is.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Iterator

from PIL import Image
from playwright.sync_api import Page

from conftest import PROJECT
from jupyterlab import chromium, connect_to_kernel, jupyterlab, open_notebook, run_all_cells, wait_for_kernel
from kernels import FRESH_ROUND, Kernel

FRAMES_PER_SECOND = 8


@contextlib.contextmanager
def lesson(name: str) -> Iterator[tuple[Page, Kernel]]:
    """Open a lesson and run all its cells."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser, jupyterlab(Path(folder)) as lab:
        page = open_notebook(browser, lab, name, 1280, 720)
        wait_for_kernel(page, lab, name)
        run_all_cells(page)
        kernel = Kernel(connect_to_kernel(lab, Path(folder), name))
        yield page, kernel
        kernel.client.stop_channels()


def record(page: Page, kernel: Kernel, selector: str, name: str, until: str) -> None:
    """Take pictures of a part of the page until an expression is true in the kernel, and two seconds more."""
    box = page.locator(selector).first.bounding_box()
    assert box is not None
    frames, times, end = [], [time.monotonic()], float("inf")
    while times[-1] < end:
        picture = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
        frames.append(picture.resize((picture.width * 3 // 4, picture.height * 3 // 4), Image.Resampling.LANCZOS))
        if end == float("inf") and kernel.value(f"bool({until})"):
            end = time.monotonic() + 2
        page.wait_for_timeout(max(1, 1000 * (times[-1] + 1 / FRAMES_PER_SECOND - time.monotonic())))
        times.append(time.monotonic())
    lengths = [round(1000 * (after - before)) for before, after in zip(times, times[1:])]
    path = PROJECT / "notebooks" / "images" / name
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=lengths, loop=0, quality=70, method=4)
    print(f"{name}: {len(frames)} frames, {times[-1] - times[0]:.0f} s, {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    with lesson("01_watch_bots_play") as (page, kernel):
        page.wait_for_timeout(2000)  # the board comes into view
        kernel.run("server.pause = 3" + FRESH_ROUND + "rounds = board.you.rounds")
        record(page, kernel, ".gg-board", "board.webp", "board.you.rounds > rounds and not board.you.round_over")


if __name__ == "__main__":
    main()
