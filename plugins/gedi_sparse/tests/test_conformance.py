from eozoo.testing import parametrize_with_checks


@parametrize_with_checks("gedi_sparse", overrides=("model.options.width=4", "data.crop=32"))
def test_conformance(check, tmp_path):
    check(tmp_path)
