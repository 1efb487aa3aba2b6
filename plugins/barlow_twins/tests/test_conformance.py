from eozoo.testing import parametrize_with_checks

SMALL = [
    "data.val_share=0.2",
    "train.batch_size=512",
    "train.schedule.warmup_steps=0",
    "eval.draws=1",
    "eval.trees=5",
    "eval.shares=[0.1]",
    "infer.passes=1",
]
TRANSFORMER = [
    "model.backbone={name: btfm_transformer, options: {latent_dim: 16, heads: 2, layers: 1, feedforward: 16}}"
]
MLP = ["model.backbone={name: btfm_mlp, options: {latent_dim: 8, hidden_dim: 16}}", "data.val_samples=128"]


def test_names():
    """Both tasks are found by their names."""
    import eozoo

    assert {"barlow_twins", "barlow_landcover"} <= set(eozoo.list_tasks())


@parametrize_with_checks("barlow_twins", overrides=[*SMALL, *MLP])
def test_pretraining(check, tmp_path):
    check(tmp_path)


@parametrize_with_checks("barlow_landcover", overrides=[*SMALL, *TRANSFORMER])
def test_landcover(check, tmp_path):
    check(tmp_path)
