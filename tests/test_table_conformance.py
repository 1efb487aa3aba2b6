"""The conformance kit on the built-in tasks of tables; its own file, so that workers can share them out."""

from eozoo.testing import parametrize_with_checks
from test_builtin_conformance import of_the_second

SHORT = ("model.options={width: 8, depth: 2}",)


@parametrize_with_checks("scalar_regression", overrides=SHORT)
def test_scalar_regression(check, tmp_path):
    check(tmp_path)


@of_the_second("classification", SHORT)
def test_classification(check, tmp_path):
    check(tmp_path)
