"""``eozoo demo TASK``: sample data, training, scores, maps and pictures in one go; needs no data."""

from __future__ import annotations

import time
from pathlib import Path

import click
from eozoo_core.errors import ZooError

from eozoo.cli.eval import class_text, format_scores
from eozoo.cli.options import PATH, blame, echo, set_option, task_argument
from eozoo.registry import Registry


@click.command("demo")
@task_argument
@click.option("--out", type=PATH, help="Output folder.  [default: demo/TASK]")
@set_option
@click.pass_obj
def command(registry: Registry, task: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Show TASK at work on small synthetic data, within minutes on a laptop."""
    from eozoo_core import Run
    from eozoo_core.run.lease import held
    from eozoo_core.settings.config import load_settings, to_dict

    out = out or Path("demo") / task
    if out.exists() and not out.is_dir():
        raise ZooError(f"--out {out}: is a file; give a folder")
    if (out / "run.json").exists():
        raise ZooError(f"--out {out}: is a run, and a demo makes a folder of its own; give another folder")
    cls, started = registry.get("task", task), time.monotonic()
    with blame(registry, task), held(out / ".demo.json", str(out), "another --out"):
        echo(f"1. synthetic data in {out / 'data'}: they show the pipeline, not how good a model is")
        sample = cls.sample(out / "data")
        settings = load_settings(cls.Settings, None, overrides, to_dict(sample.settings))
        registry.check_slots(cls, settings)
        run = Run.create(out / "run", task, settings, registry.find("task", task).plugin)
        run.note("data", "SYNTHETIC, made by 'eozoo demo'")
        built = cls(settings, registry)
        echo(f"2. training into {run.path}")
        built.train(run)
        echo("3. scores on the test split of the synthetic data, simple baselines beside the model")
        scores = built.evaluate(run, "test")
        file = run.write_scores("test", scores, built.scored_on(run, "test"))
        echo(f"{format_scores(scores, built.targets())}{class_text(run, 'test')}\n{file}")
        echo(f"4. maps of {sample.source}")
        for path in built.infer(run, sample.source, out / "maps"):
            echo(path)
        echo("5. pictures")
        for path in built.demo(run, sample, out):
            echo(path)
    echo(f"done in {time.monotonic() - started:.0f} s; everything above is from SYNTHETIC data")
