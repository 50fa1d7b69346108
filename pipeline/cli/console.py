"""Progress of a run on the terminal: bars, or plain lines where there is no terminal."""

import time

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.training.progress import ProgressUpdate, memorization_warning
from stylealae.errors import printable

__all__ = ["Console"]


class Console:
    """Shows progress updates as they come; one bar a stage."""

    def __init__(self) -> None:
        self.terminal = Terminal(highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._warned = False
        self._bar: dict[int, TaskID] = {}
        self._began: dict[int, tuple[float, int]] = {}

    def __enter__(self) -> "Console":
        """Starts the bars, if there is a terminal."""
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
        """Ends the bars."""
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """A sentence between the bars."""
        self.terminal.print(printable(text), markup=False)

    def show(self, u: ProgressUpdate) -> None:
        """One line of progress: stage, images, rate, time left, losses; at its end a summary."""
        self._progress(u)
        if (sentence := memorization_warning(u.sign_gap)) and not self._warned:
            self._warned = True
            self.say(sentence)
        now, images = time.monotonic(), u.seen - u.stage_first
        then, before = self._began.setdefault(u.resolution, (now, images))
        if u.seen >= u.stage_end and now > then:
            rate = (images - before) / (now - then)
            self.say(
                f"{u.resolution}x{u.resolution} is trained: {images:,} images, the last "
                f"{images - before:,} in {_duration(now - then)}, {rate:.0f} img/s all in all"
            )
        if u.then:
            self.say(u.then)

    def _progress(self, u: ProgressUpdate) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in u.losses.items())
        rate = f"{u.img_per_s:.0f} img/s"
        fade = f"alpha {u.alpha:.2f}"
        if self._bars is None:
            left = _duration((u.stage_end - u.seen) / max(u.img_per_s, 1e-9))
            self.say(
                f"{u.resolution:>4}x{u.resolution:<4} {fade}  {u.seen:>9,} of {u.total:,} images  "
                f"{rate}  stage done in {left}  {losses}"
            )
            return
        name = f"{u.resolution}x{u.resolution}"
        if u.resolution not in self._bar:
            self._bar[u.resolution] = self._bars.add_task(
                name, total=u.stage_end - u.stage_first, completed=u.seen - u.stage_first, line=""
            )
        line = f"{u.seen:,}/{u.total:,} images  {rate}  {fade}  {losses}"
        self._bars.update(self._bar[u.resolution], completed=u.seen - u.stage_first, line=line)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
