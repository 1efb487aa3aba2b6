"""The group of all verbs: one file per verb, imported when it is used. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

import click
from eozoo_core.errors import Interrupted, ZooError, did_you_mean
from eozoo_core.run.rank import is_first_process
from eozoo_core.signals import exit_code, name_of, raising_stopped

# In the order in which people meet them, with their lines in ``eozoo --help``, which so imports none of them.
VERBS = {
    "list": "List tasks, models, datasets and losses by name.",
    "show": "Describe NAME: inputs, outputs, what fits, size, licences, limits.",
    "config": "Print all settings of TASK as commented YAML.",
    "prepare": "Run preparation STEP of TASK; without STEP, list the steps.",
    "check": "Look at the data of TASK before training.",
    "train": "Train TASK into a run directory.",
    "eval": "Score a run of TASK on a split, beside simple baselines.",
    "infer": "Predict for SRC, a file or a folder, with a trained run of TASK.",
    "demo": "Show TASK at work on small synthetic data.",
    "export": "Write the network of a run for use without eozoo.",
    "compare": "Compare RUNS with the first of them.",
    "card": "Write a model card of NAME, or a STAC item.",
    "weights": "Show, fetch and verify published weights.",
    "new": "Write the folder NAME: a package of your own.",
    "plugins": "List the installed plugins, switch one off or on.",
    "doctor": "Explain what is installed and what cannot be used.",
}
_FIRST = 3.0  # seconds for the first process of a job to say what all find: the others end with it, unheard
_BEFORE_PLUGINS = ("plugins", "doctor")  # they must work when importing a plugin hangs


class Verbs(click.Group):
    """Finds a verb in the module of its name, and shows a ZooError as one line with exit code 1.

    Any other exception is a bug and keeps its traceback.
    """

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; see ``click.Group.main``."""
        with _printed():
            return super().main(*args, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which people meet them."""
        return list(VERBS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each verb."""
        with formatter.section("Commands"):
            formatter.write_dl([*VERBS.items()])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the verb's module."""
        return importlib.import_module(f"eozoo.cli.{name}").command if name in VERBS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest a verb for one that does not exist."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"no verb {args[0]!r}.{did_you_mean(args[0], VERBS)}", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        _require_once(click.Context(command, ctx, name), rest)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; turn the user's mistakes, and signals, into one line."""
        try:
            with raising_stopped():
                return super().invoke(ctx)
        except click.UsageError as error:
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # the page that was asked for
                raise
            asked, said = (error.ctx or ctx).command_path, " ".join(error.format_message().split())
            end = "" if said.endswith((".", "?")) else "."
            click.secho(f"Error: {said}{end} See '{asked} --help'.", fg="red", err=True)
            sys.exit(error.exit_code)
        except ZooError as error:
            if not is_first_process():
                time.sleep(_FIRST)
            click.secho(f"Error: {error}", fg="red", err=True)
            sys.exit(1)
        except Interrupted as stop:
            _end(str(stop), stop.number)
        except KeyboardInterrupt as stop:
            number = getattr(stop, "number", 2)  # a plain one is Ctrl-C
            kept = "what is complete is kept, nothing is half-written; the same command does the rest"
            _end(f"stopped by {name_of(number)}: {kept}", number)


def _require_once(ctx: click.Context, words: list[str]) -> None:
    """Refuse an option that takes one value and is given twice: click would take the last without a word."""
    words = words[: words.index("--")] if "--" in words else words
    for option in ctx.command.params:
        if not isinstance(option, click.Option) or option.multiple or option.is_flag:
            continue
        if sum(word.partition("=")[0] in option.opts for word in words) > 1:
            raise click.UsageError(f"{option.opts[0]} is given twice", ctx)


@contextmanager
def _printed() -> Iterator[None]:
    """Say in one line that standard output cannot be written (a file on a full disk, say); exit code 1 then."""
    before = sys.stdout
    if isinstance(getattr(before, "buffer", None), io.RawIOBase):  # PYTHONUNBUFFERED: what does not fit is dropped
        sys.stdout = open(before.fileno(), "w", 1, before.encoding, before.errors, closefd=False)  # noqa: SIM115
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or not _is_full(sys.stdout):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left again at its end
        said = f"standard output: cannot be written ({error.strerror}); free space or choose another file"
        click.secho(f"Error: {said}", fg="red", err=True)
        sys.exit(1)
    finally:
        sys.stdout = before


def _is_full(stream: TextIO) -> bool:
    """Whether nothing can be written to a stream: an empty line is tried."""
    try:
        os.write(stream.fileno(), b"\n")
    except OSError as error:
        return error.errno != errno.EPIPE  # click ends quietly where nobody reads on
    return False


def _quiet_libraries() -> None:
    """Keep GDAL's own warnings off the terminal: readers and writers say what they mean in our words."""
    import logging
    import warnings

    logging.getLogger("rasterio").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")


def _end(message: str, number: int) -> NoReturn:
    """Say one line for all processes of a job, and end as ended by signal ``number``."""
    if is_first_process():
        click.echo(message, err=True)
    sys.exit(exit_code(number))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="eozoo")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train, score and run Earth-observation models by name. Every model is a plugin."""
    ctx.with_resource(_safe_path())
    if ctx.invoked_subcommand != "list":  # which opens no raster
        _quiet_libraries()
    if ctx.obj is None and ctx.invoked_subcommand not in _BEFORE_PLUGINS:
        from eozoo.registry import Registry

        ctx.obj = Registry.discover()


@contextmanager
def _safe_path() -> Iterator[None]:
    """Let no Python process that a verb starts import files of the current folder: data lie there, not code.

    That are loader and preparation processes, the other processes of ``runtime.devices`` and compilers.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = before or "1"  # Python takes an empty value for unset
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
