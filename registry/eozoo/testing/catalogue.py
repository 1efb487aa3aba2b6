"""Every check of the kit by name, and the two ways to run them: a list, and a pytest decorator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError, did_you_mean

from eozoo.registry import Registry
from eozoo.testing import (
    check,
    declaration,
    description,
    evaluate,
    graph,
    guard,
    infer,
    loading,
    module,
    ownership,
    plugin_module,
    predict,
    processes,
    slots,
    train,
    workers,
)
from eozoo.testing.shared_runs import Bench
from eozoo.testing.watch import each_picture_once

CheckFunction = Callable[[Bench, Path], None]

# Cheap ones first: a plugin author sees the simple faults before anything is trained.
_FUNCTIONS: tuple[CheckFunction, ...] = (
    plugin_module.listing_is_light,
    declaration.settings_are_documented,
    declaration.settings_round_trip,
    declaration.parameters_are_named,
    declaration.sample_is_repeatable,
    description.cards_are_complete,
    check.check_finds_what_is_wrong,
    check.data_run_no_code,
    train.same_seed_same_result,
    train.continues_after_an_epoch,
    train.continues_within_an_epoch,
    train.finished_run_stays,
    train.plan_tells_the_steps,
    train.changed_setting_is_refused,
    train.trained_parts_are_saved,
    ownership.a_run_has_one_writer,
    slots.strangers_fit,
    processes.two_processes_are_one,
    evaluate.best_repeats_the_logged_number,
    evaluate.best_is_enough,
    evaluate.baseline_beside_the_model,
    loading.run_directory_is_enough,
    loading.wrong_checkpoint_is_refused,
    loading.bad_source_is_refused,
    predict.outputs_have_units,
    description.network_is_described,
    predict.predict_is_repeatable,
    predict.missing_stays_missing,
    predict.one_bad_sample_spoils_no_other,
    predict.misfits_are_refused,
    graph.graph_is_predict,
    module.module_is_predict,
    infer.maps_are_real_maps,
    infer.infer_leaves_nothing_else,
    infer.infer_on_a_full_disk,
    guard.absurd_inputs_are_refused,
    ownership.a_scene_has_one_writer,
    workers.workers_change_no_bit,
)
_INSTALLED = {"listing_is_light", "workers_change_no_bit"}  # need a plugin that other processes find
CHECKS: Mapping[str, CheckFunction] = {function.__name__: function for function in _FUNCTIONS}


@dataclass(frozen=True)
class Check:
    """One check of one task; ``check(folder)`` raises AssertionError, saying what to repair, where it fails."""

    name: str
    function: CheckFunction
    bench: Bench

    def __call__(self, folder: Path) -> None:
        """Run it with ``folder``, empty and its own, as workplace."""
        try:
            with each_picture_once(self.bench.drawn):
                self.function(self.bench, Path(folder))
        except Exception as error:
            error.add_note(f"conformance of task {self.bench.name!r}, {self.name}: {self.function.__doc__}")
            raise

    def __repr__(self) -> str:
        return f"Check({self.bench.name}: {self.name})"


def task_checks(name: str, registry: Registry | None = None, overrides: Iterable[str] = ()) -> list[Check]:
    """Return all checks of the task ``name``, to be called one by one.

    registry:  where to find it; None = the installed plugins. Given one, ``listing_is_light`` and
               ``workers_change_no_bit`` are not among the checks: they need an installed plugin.
    overrides: "key=value" strings that make the training of ``sample`` shorter still: a small network, few samples.
               Training is two epochs unless they say otherwise.

    The checks share a few short trainings, kept in a temporary folder as long as the list is.
    Raises ZooError where there is no such task.
    """
    installed = registry is None
    registry = registry or Registry.discover()
    registry.find("task", name)
    bench = Bench(name, registry, tuple(overrides))
    return [Check(key, check, bench) for key, check in CHECKS.items() if installed or key not in _INSTALLED]


def parametrize_with_checks(
    name: str,
    expected_failures: Mapping[str, str] | None = None,
    registry: Registry | None = None,
    overrides: Iterable[str] = (),
) -> Any:
    """Decorate a pytest function of ``check`` and ``tmp_path`` so that it runs once per check of the task ``name``.

    ``expected_failures`` maps the name of a check to the reason why it is known to fail; it is then a strict xfail,
    and a failure too as soon as the check passes. The other arguments are those of ``task_checks``.
    Raises ZooError for an unknown task or check.
    """
    import pytest

    expected = dict(expected_failures or {})
    for key in expected:
        if key not in CHECKS:
            raise ZooError(f"expected_failures: no check {key!r}.{did_you_mean(key, CHECKS)}")
    marks = {key: [pytest.mark.xfail(reason=reason, strict=True)] for key, reason in expected.items()}
    checks = task_checks(name, registry, overrides)
    return pytest.mark.parametrize("check", [pytest.param(c, id=c.name, marks=marks.get(c.name, [])) for c in checks])
