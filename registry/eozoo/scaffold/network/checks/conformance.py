"""What every task of the zoo promises, checked on a built-in one with this network in it."""

from eozoo.testing import parametrize_with_checks


@parametrize_with_checks("BUILT_IN", overrides=["model={name: my_task_net, options: {width: 8}}"])
def test_conformance(check, tmp_path):
    """Run one check of the kit."""
    check(tmp_path)
