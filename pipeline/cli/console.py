"""What a person at the console sees: progress bars, or plain lines without a terminal."""

import time

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.training.progress import Report

__all__ = ["Console"]


class Console:
    """Shows reports as they come; one bar a stage."""

    def __init__(self) -> None:
        self.terminal = Terminal(highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._bar: dict[int, TaskID] = {}
        self._began: dict[int, tuple[float, int]] = {}

    def __enter__(self) -> "Console":
        """Takes over the terminal, if there is one."""
        if self.terminal.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[line]}"),
                TimeRemainingColumn(compact=True),
                console=self.terminal,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the terminal back."""
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """A sentence between the bars."""
        self.terminal.print(text)

    def show(self, r: Report) -> None:
        """One line of progress: stage, images, rate, time left, losses; at its end a summary."""
        self._progress(r)
        now, images = time.monotonic(), r.seen - r.stage_first
        then, before = self._began.setdefault(r.resolution, (now, images))
        if r.seen >= r.stage_end and now > then:
            rate = (images - before) / (now - then)
            self.say(
                f"{r.resolution}x{r.resolution} is trained: {images:,} images, the last "
                f"{images - before:,} in {_duration(now - then)}, {rate:.0f} img/s all in all"
            )

    def _progress(self, r: Report) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in r.losses.items())
        rate = f"{r.img_per_s:.0f} img/s"
        fade = f"alpha {r.alpha:.2f}"
        if self._bars is None:
            left = _duration((r.stage_end - r.seen) / max(r.img_per_s, 1e-9))
            self.say(
                f"{r.resolution:>4}x{r.resolution:<4} {fade}  {r.seen:>9,} of {r.total:,} images  "
                f"{rate}  stage done in {left}  {losses}"
            )
            return
        name = f"{r.resolution}x{r.resolution}"
        if r.resolution not in self._bar:
            self._bar[r.resolution] = self._bars.add_task(
                name, total=r.stage_end - r.stage_first, completed=r.seen - r.stage_first, line=""
            )
        line = f"{r.seen:,}/{r.total:,} images  {rate}  {fade}  {losses}"
        self._bars.update(self._bar[r.resolution], completed=r.seen - r.stage_first, line=line)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
