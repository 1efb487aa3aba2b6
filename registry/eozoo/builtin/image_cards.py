"""What the plugin says of its tasks, networks and losses for images. Imports nothing heavy."""

from eozoo_core import Card, Port, Slot, Spec

_IMAGE = Port("image", "B C H W")
_MEAN = Port("mean", "B 1 H W")
_LOGITS = Port("logits", "B K H W", "1")
_FEEDS = (_IMAGE, Port("values", "B C H W"), Port("missing", "B C H W", "1 = missing"))
_WITH = ("in_channels", "outputs", "bands")
_SAMPLE, _OPTIONS = Port("image", "C H W"), ("split",)
REGRESSION_SLOTS = {
    "data.dataset": Slot("dataset", wants=(_SAMPLE, Port("target", "1 H W")), options=_OPTIONS),
    "model": Slot("model", feeds=_FEEDS, wants=(_MEAN,), options=_WITH),
    "model.loss": Slot("loss", feeds=(Port("target", "B 1 H W", "unit of the labels"),), after="model"),
}
SEGMENTATION_SLOTS = {
    "data.dataset": Slot("dataset", wants=(_SAMPLE, Port("target", "1 H W", "class code")), options=_OPTIONS),
    "model": Slot("model", feeds=_FEEDS, wants=(_LOGITS,), options=_WITH),
    "model.loss": Slot("loss", feeds=(_LOGITS, Port("target", "B 1 H W", "class index"))),
}
_RONNEBERGER = "Ronneberger et al. 2015, U-Net, arXiv:1505.04597"
_MEINSHAUSEN = "Meinshausen 2006, Quantile Regression Forests, JMLR 7:983-999"
_NONE = "None are published: it begins at random and is trained on your images."
_IMAGES = (
    "Float bands, any number and resolution, nodata or NaN = missing; statistics of each band come from the training "
    "images and travel in the checkpoint."
)
_ON = "input 1 x 4 x 256 x 256, CPU seconds of one thread of 2 x AMD EPYC with other work beside it, weights included."
_BANDS = "Standardised bands (mean 0, deviation 1), any number of them, any image size, no NaN: the task fills gaps."
_CHANNELS = "As many channels as asked for: mean, mean and log-scale, or a logit per class; NaN never."
_VALUES = "Prediction and target, of one shape (B, ...) and unit; a target of NaN = no label, adds nothing."
_SCALED = f"{_VALUES} The log-scale is clamped inside."
_CLASSES = "Logits (B, K, ...) and class indices (B, ...) or (B, 1, ...), NaN or below 0 = no label, adds nothing."

TASKS = [
    Spec(
        "pixelwise_regression",
        "eozoo.builtin.pixelwise_regression:PixelwiseRegression",
        "A value for every pixel of an image, with its uncertainty, learned from your rasters and labels",
        citation=f"{_RONNEBERGER}; Nix & Weigend 1994, doi:10.1109/ICNN.1994.374138",
        card=Card(
            purpose="Maps of any quantity (biomass, moisture, depth) where there are images and it was measured in "
            "some or all pixels.",
            inputs=f"{_IMAGES} Labels: one band of values, nodata or NaN = no label.",
            outputs="Mean and, where the loss trains it, standard deviation per pixel, in the unit of the labels; NaN "
            "where a band is missing.",
            weights=_NONE,
            measured="Not measured.",
            limits=(
                "The standard deviation is that of a label about the map, noise of labels included.",
                "What its demo writes is synthetic and says nothing about real skill.",
            ),
            architecture="U-Net",
            kinds=("regression",),
        ),
    ),
    Spec(
        "semantic_segmentation",
        "eozoo.builtin.semantic_segmentation:SemanticSegmentation",
        "The class of every pixel of an image, learned from your rasters and labels",
        citation=f"{_RONNEBERGER}; Long et al. 2015, arXiv:1411.4038",
        card=Card(
            purpose="Maps of classes (crops, land cover, burned area) where there are images and some or all pixels "
            "are labelled.",
            inputs=f"{_IMAGES} Labels: one band of class codes, nodata or NaN = no label.",
            outputs="Code of the likeliest class, and the probability of each; nodata or NaN where a band is missing.",
            weights=_NONE,
            measured="Not measured.",
            limits=(
                "Probabilities are as the loss leaves them: often too sure; class weights, focal and dice shift them.",
                "What its demo writes is synthetic and says nothing about real skill.",
            ),
            architecture="U-Net",
            kinds=("semantic-segmentation",),
        ),
    ),
]


def _model(name: str, parameters: int, summary: str, citation: str, card: Card) -> Spec:
    gives = (_MEAN, Port("log_scale", "B 1 H W"), _LOGITS)
    place = f"eozoo.builtin.networks:{name}"
    return Spec(name, place, summary, (), (_IMAGE,), gives, citation=citation, card=card, parameters=parameters)


MODELS = [
    _model(
        "unet",
        4_314_033,
        "U-Net for values or classes of pixels, any bands and size, width and depth to choose",
        _RONNEBERGER,
        Card(
            purpose="The network of the built-in image tasks: sees texture and what lies around a pixel.",
            inputs=_BANDS,
            outputs=_CHANNELS,
            weights=_NONE,
            measured=f"Forward 0.273 s, 107 MB; with backward 0.759 s, 298 MB; {_ON}",
            limits=(
                "Batch normalisation: what it learns depends on the batch size.",
                "A pixel's result depends on a window around it (about 200 px with depth 4), so windows are blended.",
            ),
            architecture="U-Net",
            kinds=("regression", "semantic-segmentation"),
        ),
    ),
    _model(
        "residual_cnn",
        28_961,
        "Small residual network at full resolution for values or classes of pixels, any bands and size",
        "He et al. 2016, Deep residual learning, arXiv:1512.03385",
        Card(
            purpose="A small network for few labels: a pixel and its nearest neighbours.",
            inputs=_BANDS,
            outputs=_CHANNELS,
            weights=_NONE,
            measured=f"Forward 0.0978 s, 46 MB; with backward 0.217 s, 116 MB; {_ON}",
            limits=("Sees some pixels around each (option depth): nothing larger.",),
            architecture="Residual convolutional network",
            kinds=("regression", "semantic-segmentation"),
        ),
    ),
    *(
        Spec(
            name,
            f"eozoo.builtin.networks:{name}",
            f"Extremely randomised trees for values of pixels, for a few hundred labels; {what}",
            takes=(_IMAGE,),
            gives=(_MEAN, Port("log_scale", "B 1 H W")),
            citation=f"Geurts et al. 2006, Extremely randomized trees, doi:10.1007/s10994-006-6226-1{more}",
            card=Card(
                purpose="Few labels: a pixel's bands and their means in squares around it.",
                inputs=_BANDS,
                outputs="Mean, or mean and log-scale; NaN never.",
                weights="None are published: the trees grow from your labels, in seconds, without steps.",
                measured=f"{measured}; input 1 x 4 x 64 x 64, CPU seconds of one thread of 2 x AMD EPYC with other "
                "work beside it; trees of 500 labels.",
                limits=(
                    "Never predicts above the highest or below the lowest label of training.",
                    "At most 20,000 labels are drawn; growing needs scikit-learn (eozoo[forest]), maps do not.",
                    "Maps are slow: every pixel goes down every tree.",
                ),
                architecture="Extremely randomised trees",
                kinds=("regression",),
            ),
            parameters=parameters,
        )
        for name, what, more, parameters, measured in (
            (
                "forest",
                "one deviation for all",
                "",
                1,
                "Forward 0.361 s, 173 MB; with backward 0.464 s, 187 MB",
            ),
            (
                "quantile_forest",
                "own deviation or quantiles in every pixel",
                f"; {_MEINSHAUSEN}",
                2,
                "Forward 0.343 s, 175 MB; with backward 0.453 s, 193 MB",
            ),
        )
    ),
]


def _loss(name: str, summary: str, citation: str, card: Card, roles: str = "mean target") -> Spec:
    ports = {
        "mean": Port("mean", "B ..."),
        "log_scale": Port("log_scale", "B ..."),
        "logits": Port("logits", "B K ...", "1"),
        "target": Port("target", "B ...", "class index" if "logits" in roles else ""),
    }
    takes = tuple(ports[role] for role in roles.split())
    return Spec(name, f"eozoo.builtin.losses:{name}", summary, takes=takes, citation=citation, card=card)


def _card(purpose: str, inputs: str, unit: str, *limits: str) -> Card:
    outputs = f"(sum, count) over what is labelled, {unit}; never NaN."
    return Card(purpose=purpose, inputs=inputs, outputs=outputs, measured="Not measured.", limits=limits)


_NO_STD = "Trains no variance: no standard deviation is written."
LOSSES = [
    _loss(
        "mse",
        "Squared error; trains no variance",
        "none: textbook",
        _card("The mean alone, without uncertainty.", _VALUES, "unit of the target squared", _NO_STD),
    ),
    _loss(
        "mae",
        "Absolute error; trains no variance",
        "none: textbook",
        _card("The median alone; mild with outlying labels.", _VALUES, "unit of the target", _NO_STD),
    ),
    _loss(
        "huber",
        "Squared error up to a limit, absolute beyond; trains no variance",
        "Huber 1964, Robust estimation of a location parameter, doi:10.1214/aoms/1177703732",
        _card(
            "The mean where errors are small, mild with outlying labels.",
            _VALUES,
            "unit of the target squared",
            "Option delta is in the unit of the target: 1 is large for a share of 0..1, small for biomass in Mg/ha.",
            _NO_STD,
        ),
    ),
    _loss(
        "gaussian_nll",
        "Gaussian likelihood with a predicted log-variance",
        "Nix & Weigend 1994, doi:10.1109/ICNN.1994.374138; beta: Seitzer et al. 2022, arXiv:2203.09168",
        _card(
            "Trains mean and variance together; the value is the NLL that scores report.",
            f"{_SCALED} Log-scale = log-variance.",
            "nats, complete with 0.5 log 2 pi",
            "Outlying labels pull strongly: laplacian_nll is milder.",
            "Early in training labels that look hard may be neglected; option beta 0.5 helps, and is no likelihood.",
        ),
        "mean log_scale target",
    ),
    _loss(
        "laplacian_nll",
        "Laplacian likelihood with a predicted log b; milder with outliers",
        "Lang et al. 2023, A high-resolution canopy height model of the Earth, doi:10.1038/s41559-023-02206-6",
        _card(
            "As gaussian_nll for errors with heavier tails; the mean becomes a median.",
            f"{_SCALED} Log-scale = log b; the deviation is sqrt(2) b.",
            "nats, complete with log 2",
            "Its map is that of the median, which lies below the mean of skewed values such as biomass.",
        ),
        "mean log_scale target",
    ),
    _loss(
        "cross_entropy",
        "Cross-entropy of classes, with class weights and label smoothing",
        "none: textbook; smoothing: Szegedy et al. 2016, arXiv:1512.00567",
        _card(
            "The probability of classes; the default.",
            _CLASSES,
            "nats",
            "Without class weights a rare class counts by its labels, and may never be predicted.",
        ),
        "logits target",
    ),
    _loss(
        "focal",
        "Focal loss of classes: labels that are easy count less",
        "Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002",
        _card(
            "Many easy labels beside few hard ones.",
            _CLASSES,
            "nats",
            "Probabilities become less sure than they should be.",
        ),
        "logits target",
    ),
    _loss(
        "dice",
        "Soft Dice loss of classes in each image: overlap instead of single pixels",
        "Milletari et al. 2016, V-Net, arXiv:1606.04797",
        _card(
            "Small objects in densely labelled images.",
            _CLASSES,
            "1 - dice, 0..1, times the labels of the image",
            "Noisy where an image holds few labels: one image is one overlap.",
            "Probabilities become too sure.",
        ),
        "logits target",
    ),
]
