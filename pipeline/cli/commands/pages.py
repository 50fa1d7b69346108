"""`studio`, `report`: pages for the browser."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import DEVICE, PATH
from pipeline.cli.errors import reports_errors
from pipeline.cli.models import newest_run, open_model
from pipeline.training.model_folder import snapshot_of, url_of
from pipeline.training.run_files import SNAPSHOT
from stylealae.errors import UserError
from stylealae.interop.pretrained import trained_on

if TYPE_CHECKING:
    import numpy as np

    from pipeline.config import RunConfig
    from stylealae import StyleALAE
    from stylealae.editing.directions import Directions

__all__ = ["report", "studio"]

RUNS = Path("runs")
EXAMPLES = 6
MANIFEST_S = 5.0
"""The studio begins without a word on the images where their store is silent for so long."""


@click.command()
@click.argument("model", type=PATH, required=False)
@click.option("--directions", type=PATH,
              help="Folder that `stylealae directions` wrote; default: the model's own, if it "
                   "holds some, else those along which the model varies most.")  # fmt: skip
@click.option("--port", default=7860, show_default=True, help="0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="0.0.0.0 lets everybody in who can reach this machine and has the token."
)  # fmt: skip
@click.option("--allow-host", "names", multiple=True, metavar="NAME",
              help="Answer to this host name too: that of a proxy, say. Asks for the token."
)  # fmt: skip
@click.option("--detector", metavar="NAME:FILE", default="",
              help="Turn and crop photos by their eyes and mouth, as `stylealae align` does, with "
                   "yunet:model.onnx or dlib:model.dat; default: dlib of the extra `faces`, if it "
                   "is there, else crop by hand.")  # fmt: skip
@click.option("--examples", type=PATH, metavar="PATH",
              help="Images to begin with; default: held-out ones of the run's data set where it is "
                   "still there, and on this machine alone.")  # fmt: skip
@DEVICE
@reports_errors
def studio(
    model: Path | None, directions: Path | None, port: int, host: str, names: Sequence[str],
    detector: str, examples: Path | None, device: str,
) -> None:  # fmt: skip
    """Serve the studio: a web page to reconstruct, edit, mix and draw faces.

    Without MODEL it opens the newest run in runs/, and if there is none rendered_64, which comes
    with the package: StyleALAE on rendered faces.

    \b
    stylealae studio
    stylealae studio runs/demo
    stylealae studio snapshots/ffhq --directions directions/smile --port 8000

    On another machine, forward the port (ssh -L 7860:127.0.0.1:7860 HOST) and open the address
    here. Nothing that is uploaded is kept. Beyond this machine the address holds a token, which
    is asked for. More: docs/studio.md.
    """  # noqa: D301
    from pipeline.faces.landmarks import detector as found
    from pipeline.faces.landmarks import usual_detector
    from pipeline.studio.guard import Access
    from pipeline.studio.handlers import StudioInfo
    from pipeline.studio.server import listening, serve
    from pipeline.studio.studio import Studio
    from pipeline.studio.uploads import decoders

    detector = detector or usual_detector()
    if detector:
        found(detector)  # what is wrong with it is said before anybody uploads
    model = model or newest_run(RUNS)
    on = listening(host, port)
    sandbox = decoders(started=True)  # beside the reading of the model
    try:
        m = open_model(model, device)
    except BaseException:
        sandbox.close()  # children that lose their parent as they begin print tracebacks
        raise
    access = Access.on(on.getsockname()[0], names)
    cfg = _config_of(model)
    about = StudioInfo(
        name=_name_of(model.resolve()),
        data=_trained_on(cfg) or trained_on(str(model)),
        detector=detector,
        examples=_examples(m, examples, None if access.token else cfg),
    )
    made = Studio(m, _directions_of(model, directions))
    click.echo(f"the studio of {model} is at {_address(on, access.token)}  (Ctrl-C ends it)")
    if access.token:
        click.secho(
            "warning: whoever has this address can use the studio, and nothing is encrypted on "
            "the way: put a proxy with TLS before it where others listen",
            fg="yellow", err=True,
        )  # fmt: skip
    serve(made, on, access, about, sandbox)


def _address(on: socket.socket, token: str) -> str:
    """What to open in a browser; of a socket on every interface, by this machine's name."""
    host, port = on.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/{f'?token={token}' if token else ''}"


def _directions_of(model: Path, given: Path | None) -> "Directions | None":
    """Those that are named, else those that lie beside the model; None if none do."""
    from stylealae.editing.directions import Directions

    if given is None:
        given = None if model.is_file() else snapshot_of(model)
        if given is None or not (given / "directions.json").exists():
            return None
    return Directions.load(given)


def _config_of(model: Path) -> "RunConfig | None":
    """The config of the run that a model is of; None where it is not known."""
    from pipeline.report.run import fetched_run
    from stylealae.interop.hub import SCHEME

    try:
        if url := url_of(model):
            run = url.rsplit("/", 2)[0] if model.name == SNAPSHOT else url
            return None if url.startswith(SCHEME) else fetched_run(run).parsed()
        snapshot = snapshot_of(model).resolve()
        return None if model.is_file() else fetched_run(str(snapshot.parents[1])).parsed()
    except (UserError, OSError, IndexError):
        return None


def _trained_on(cfg: "RunConfig | None") -> str:
    """A sentence on the images of a run; empty where they are not known."""
    from pipeline.data.format.manifest import Manifest
    from pipeline.storage import data_storage

    if cfg is None:
        return ""
    found: list[Manifest] = []

    def read() -> None:
        with suppress(UserError, OSError):
            found.append(Manifest.read(data_storage(cfg.data.path, MANIFEST_S)))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(MANIFEST_S)
    if not found:
        return ""
    manifest = found[0]
    count = manifest.splits["train"].samples
    if manifest.source == "rendered":
        return f"Trained on {count:,} rendered faces: photos of people will look like dolls."
    return f"Trained on {count:,} images."


def _examples(m: "StyleALAE", path: Path | None, cfg: "RunConfig | None") -> "Sequence[np.ndarray]":
    """Images at a path, or held-out ones of a run; none where neither is there.

    uint8 [C, R, R] each
    """
    from pipeline.data.images import read_images
    from pipeline.data.loader.dataset import Dataset
    from pipeline.storage import is_url

    if path is not None:
        channels = m.model.channels
        found = read_images([path], m.resolution, channels=channels, count=EXAMPLES)
        return [image.planes for image in found]
    try:
        if cfg is not None and not is_url(cfg.data.path):  # a store may be waited for
            dataset = Dataset.open(cfg.data, m.resolution, m.model.channels)
            return list(dataset.first(EXAMPLES).numpy())
    except (UserError, OSError):
        pass  # the data set has gone, or was never here
    return ()


def _name_of(model: Path) -> str:
    """What people call it: the run's name for runs/demo/0032/snapshot, else the folder's own."""
    return model.parents[1].name if model.name == SNAPSHOT else model.stem


@click.command()
@click.argument("run")
@click.option("--out", type=PATH, help="Default: report.html in the run.")
@reports_errors
def report(run: str, out: Path | None) -> None:
    """Tell a run on one page: pictures, curves, metrics, plan, config, environment.

    \b
    stylealae report runs/demo
    stylealae report runs/ffhq --out ffhq.html
    stylealae report s3://bucket/runs/ffhq

    RUN is a folder or a URL. The page is one file that opens from the disk; a run that
    has ended has one already.
    """  # noqa: D301
    from pipeline.report.page import write_report, write_report_of
    from pipeline.storage import is_url, local_path

    place = local_path(run)
    click.echo(write_report_of(place, out) if is_url(place) else write_report(Path(place), out))
