"""`demo`, `report`: pages for the browser."""

from pathlib import Path

import click

from pipeline.launching import sentence
from stylealae.errors import ConfigError

__all__ = ["demo", "report"]


@click.command()
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option("--directions", type=click.Path(path_type=Path),
              help="Folder that `stylealae directions` wrote; default: the snapshot's own, if it "
                   "holds some, else those along which the model varies most.")  # fmt: skip
@click.option("--port", default=7860, show_default=True, help="0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="0.0.0.0 lets everybody in who can reach this machine.")  # fmt: skip
@click.option("--detector", metavar="NAME:FILE", default="",
              help="Turn and crop photos by their eyes and mouth, as `stylealae align` does, with "
                   "yunet:model.onnx or dlib:model.dat; else crop by hand.")  # fmt: skip
@click.option("--device", default="", help="Such as cuda:1; default: a GPU if there is one.")
@sentence
def demo(
    snapshot: Path, directions: Path | None, port: int, host: str, detector: str, device: str
) -> None:  # fmt: skip
    """Serve the studio: a web page to reconstruct, edit, mix and draw faces.

    \b
    stylealae demo runs/demo/0032/snapshot
    stylealae demo snapshots/ffhq --directions directions/smile --port 8000

    On another machine, forward the port (ssh -L 7860:127.0.0.1:7860 HOST) and open the address
    here. Nothing that is uploaded is kept. More: docs/studio.md.
    """  # noqa: D301
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the studio needs {error.name}: pip install 'stylealae[demo]'"
        ) from error
    import torch

    from pipeline.data.landmarks import detector as found
    from pipeline.demo.server import listening, serve
    from pipeline.demo.studio import Studio
    from stylealae import StyleALAE
    from stylealae.directions import Directions

    find = found(detector) if detector else None
    on = listening(host, port)
    m = StyleALAE.load(snapshot, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    given = directions or (snapshot if (snapshot / "directions.json").exists() else None)
    folder = given.parent if given is not None and given.is_file() else given
    studio = Studio(m, None if folder is None else Directions.load(folder))
    address, port = on.getsockname()[:2]
    name = f"[{address}]" if ":" in address else address
    click.echo(f"the studio of {snapshot} is at http://{name}:{port}  (Ctrl-C ends it)")
    serve(studio, on, about=_name_of(snapshot.resolve()), find=find)


def _name_of(snapshot: Path) -> str:
    """What people call it: the run's name for runs/demo/0032/snapshot, else the folder's own."""
    return snapshot.parents[1].name if snapshot.name == "snapshot" else snapshot.name


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Default: report.html in the run.")
@sentence
def report(run: Path, out: Path | None) -> None:
    """Tell a run on one page: pictures, curves, metrics, plan, config, environment.

    \b
    stylealae report runs/demo
    stylealae report runs/ffhq --out ffhq.html

    The page is one file that opens from the disk; a finished run has one already.
    """  # noqa: D301
    from pipeline.report.page import write_report

    click.echo(write_report(run, out))
