"""The tree of commands, and how any error becomes one clear line and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from terrazzo import __version__
from terrazzo.cli import (
    dataset,
    doctor,
    events,
    generate,
    ingest,
    models,
    project,
    serve,
    simulate,
    storage,
    tasks,
    train,
)
from terrazzo_schema.errors import TerrazzoError

app = typer.Typer(
    name="terrazzo",
    help="Semantic segmentation at dataset scale: label, check, version, train, serve, again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(serve.up)
app.command("serve")(serve.serve_one)
app.command("simulate")(simulate.simulate)
app.command("generate")(generate.generate)
app.add_typer(project.app, name="project")
app.command("ingest")(ingest.ingest)
app.add_typer(tasks.app, name="tasks")
app.command("submit")(tasks.submit)
app.add_typer(dataset.app, name="dataset")
app.add_typer(storage.app, name="storage")
app.command("train")(train.train)
app.add_typer(models.app, name="models")
app.add_typer(events.app, name="events")
app.command("doctor")(doctor.doctor)

_EXIT_CODES = {401: 4, 403: 4, 404: 3, 409: 5, 503: 6}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"terrazzo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never shows a traceback for an error that its user can act on."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    from terrazzo_client.errors import ApiError, NoAnswer, RequestFailed

    try:
        app(args=arguments)
        return 0
    except SystemExit as end:  # how Typer ends: 0, or 2 for wrong usage, or what a command asked for
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ApiError as error:
        return _fail(str(error), _EXIT_CODES.get(error.status, 1))
    except TerrazzoError as error:
        text = error.detail if error.remedy is None else f"{error.detail}; {error.remedy}"
        return _fail(text, _EXIT_CODES.get(error.status, 1))
    except NoAnswer as error:
        return _fail(f"the server can't be reached: {error}", 6)
    except RequestFailed as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(f"{error.filename or ''} {error.strerror or error}".strip(), 1)
    except KeyboardInterrupt:
        return _fail("stopped", 130)


def _fail(message: str, code: int) -> int:
    print(f"terrazzo: {message}", file=sys.stderr)
    return code
