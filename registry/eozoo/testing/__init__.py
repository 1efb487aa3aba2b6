"""The conformance kit: what every task promises, as checks that a plugin runs on its own task.

    from eozoo.testing import parametrize_with_checks

    @parametrize_with_checks("gedi_sparse")
    def test_conformance(check, tmp_path):
        check(tmp_path)

The checks use the public contract only (``eozoo_core.Task``), on the task's own ``sample``. Without pytest::

    for check in eozoo.testing.task_checks("gedi_sparse"):
        check(Path(tempfile.mkdtemp()))

Importing this package imports neither pytest nor torch nor numpy.
"""

from eozoo.testing.catalogue import CHECKS, Check, parametrize_with_checks, task_checks

__all__ = ["CHECKS", "Check", "parametrize_with_checks", "task_checks"]
