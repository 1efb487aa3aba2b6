"""What every task of the zoo promises, checked on the synthetic sample."""

from eozoo.testing import parametrize_with_checks


@parametrize_with_checks("my_task")
def test_conformance(check, tmp_path):
    """Run one check of the kit."""
    check(tmp_path)
