"""Losses of values and of classes over what is labelled: a sum, and how many labels it is of; the caller divides.

Arrays have any axes after the sample: pixels of an image (B, 1, H, W), or rows of a table (B,). Both likelihoods are
complete (with 0.5 log 2 pi and log 2), so a logged loss equals the NLL that evaluation reports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from eozoo_core.errors import ZooError
from eozoo_core.task.label_loss import LabelLoss, clamp_log_scale


class GaussianNLL(LabelLoss):
    """0.5 (error^2 / v + log v + log 2 pi); see ``gaussian_nll``."""

    trains_variance = True
    scale_power = 2

    def __init__(self, beta: float):
        self.beta = beta

    def pixelwise(self, error: torch.Tensor, log_scale: torch.Tensor | None) -> torch.Tensor:
        """Negative log-density of every element, times v^beta held constant."""
        assert log_scale is not None
        nll = 0.5 * (error.square() * torch.exp(-log_scale) + log_scale + math.log(2 * math.pi))
        return nll * torch.exp(self.beta * log_scale.detach()) if self.beta else nll

    def std(self, log_scale: torch.Tensor) -> torch.Tensor:
        """sqrt(v) = exp(log v / 2)."""
        return torch.exp(0.5 * clamp_log_scale(log_scale, self.scale_power))


class LaplacianNLL(LabelLoss):
    """|error| / b + log b + log 2; see ``laplacian_nll``."""

    trains_variance = True
    scale_power = 1

    def pixelwise(self, error: torch.Tensor, log_scale: torch.Tensor | None) -> torch.Tensor:
        """Negative log-density of every element."""
        assert log_scale is not None
        return error.abs() * torch.exp(-log_scale) + log_scale + math.log(2)

    def std(self, log_scale: torch.Tensor) -> torch.Tensor:
        """sqrt(2) b: the variance of a Laplace distribution is 2 b^2."""
        return math.sqrt(2) * torch.exp(clamp_log_scale(log_scale, self.scale_power))


class MeanOnly(LabelLoss):
    """A loss of the mean alone: called as (mean, target), which is what its Ports say, or like all others here.

    ``of_error``: turns errors into the loss of every element.
    """

    def __init__(self, of_error: Callable[[torch.Tensor], torch.Tensor]):
        self._of_error = of_error

    def __call__(
        self, mean: torch.Tensor, log_scale: torch.Tensor | None, target: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (sum, count) over what is labelled."""
        return super().__call__(mean, None, log_scale if target is None else target)

    def pixelwise(self, error: torch.Tensor, log_scale: torch.Tensor | None) -> torch.Tensor:
        """Loss of every element."""
        return self._of_error(error)


def gaussian_nll(beta: float = 0.0) -> LabelLoss:
    """Gaussian negative log-likelihood with a predicted log-variance (Nix & Weigend 1994).

    beta: 0 = the likelihood; up to 1 weighs each label by its variance^beta, held constant, against the neglect of
    those that look hard early in training (Seitzer et al. 2022); the value is then no likelihood any more.
    """
    if not 0 <= beta <= 1:
        raise ZooError(f"model.loss.options.beta: {beta} is not between 0 and 1")
    return GaussianNLL(beta)


def laplacian_nll() -> LabelLoss:
    """Laplacian negative log-likelihood with a predicted log b; milder with outlying labels than the Gaussian."""
    return LaplacianNLL()


def mse() -> LabelLoss:
    """Squared error, unit^2; trains no variance."""
    return MeanOnly(torch.square)


def mae() -> LabelLoss:
    """Absolute error, unit; trains no variance."""
    return MeanOnly(torch.abs)


def huber(delta: float = 1.0) -> LabelLoss:
    """Huber loss (1964, doi:10.1214/aoms/1177703732): error^2 / 2 up to ``delta``, then delta (|error| - delta / 2).

    delta: in the unit of the target, above 0. Trains no variance. Raises ZooError for another delta.
    """
    if not delta > 0:
        raise ZooError(f"model.loss.options.delta: {delta} is not above 0")
    return MeanOnly(lambda error: F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta))


class ClassLoss:
    """A loss of logits (B, K, ...) and class indices (B, ...) or (B, 1, ...); NaN or below 0 = no label.

    weights: a factor per class, None = all 1. The sum is weighted and the count is not: with weights whose mean over
    the labels is 1 (`eozoo_core.score.classes.balanced`) losses stay comparable. A pixel without a label adds nothing,
    and its gradient is exactly 0. All arithmetic is float32. Subclasses write ``each`` or ``total``.
    """

    def __init__(self, weights: Sequence[float] | None = None):
        if weights is not None and not all(0 <= w < math.inf for w in weights):
            raise ZooError(f"class weights {list(weights)} must be numbers from 0 on")
        self._weights = weights

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (sum, number of labels), both 0-d."""
        if self._weights is not None and len(self._weights) != logits.shape[1]:
            raise ValueError(f"{len(self._weights)} class weights for {logits.shape[1]} classes")
        target = target.reshape(len(logits), *logits.shape[2:])
        known = torch.isfinite(target) & (target >= 0)
        classes = torch.where(known, target, 0).long()
        with torch.autocast(logits.device.type, enabled=False):
            return self.total(logits.float(), classes, known), known.sum()

    def total(self, logits: torch.Tensor, classes: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Sum over ``known`` of ``classes``, both (B, ...)."""
        return torch.where(known, self.each(logits, classes), 0.0).sum()

    def each(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Loss of every element, (B, ...)."""
        raise NotImplementedError

    def weights(self, like: torch.Tensor) -> torch.Tensor | None:
        """The factors as a tensor on the device of ``like``; None = all 1."""
        return None if self._weights is None else like.new_tensor(self._weights)


class CrossEntropy(ClassLoss):
    """See ``cross_entropy``."""

    def __init__(self, weights: Sequence[float] | None, label_smoothing: float):
        super().__init__(weights)
        self._smoothing = label_smoothing

    def each(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """-w log p of the class, smoothed."""
        smoothing = self._smoothing
        return F.cross_entropy(logits, classes, self.weights(logits), reduction="none", label_smoothing=smoothing)


class Focal(ClassLoss):
    """See ``focal``."""

    def __init__(self, gamma: float, weights: Sequence[float] | None):
        super().__init__(weights)
        self._gamma = gamma

    def each(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """-w (1 - p)^gamma log p of the class."""
        log_p = -F.cross_entropy(logits, classes, reduction="none")
        # Below 1e-7 a power under 1 has no finite gradient; the loss there is 0 in float32.
        value = -(torch.expm1(log_p).neg().clamp(min=1e-7) ** self._gamma) * log_p
        weights = self.weights(logits)
        return value if weights is None else value * weights[classes]


class Dice(ClassLoss):
    """See ``dice``."""

    def __init__(self, smooth: float, weights: Sequence[float] | None):
        super().__init__(weights)
        self._smooth = smooth

    def total(self, logits: torch.Tensor, classes: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Per sample the mean over classes of 1 - dice, times its number of labels."""
        known = known.unsqueeze(1)
        truth = F.one_hot(classes, logits.shape[1]).movedim(-1, 1) * known
        found = torch.where(known, logits.softmax(dim=1), 0.0)
        both, labels = ((a.flatten(2).sum(dim=2) if a.ndim > 2 else a) for a in (found * truth, truth))
        sizes = (found.flatten(2).sum(dim=2) if found.ndim > 2 else found) + labels
        lost = 1 - (2 * both + self._smooth) / (sizes + self._smooth)  # (B, K)
        weights = self.weights(logits)
        mean = lost.mean(dim=1) if weights is None else (lost * weights).sum(dim=1) / weights.sum()
        return (mean * labels.sum(dim=1)).sum()


def cross_entropy(weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> ClassLoss:
    """Cross-entropy of the labelled class, nats.

    weights: a factor per class. label_smoothing: share 0..1 of every label that is spread evenly over all classes
    (Szegedy et al. 2016, arXiv:1512.00567). Raises ZooError for values out of range.
    """
    if not 0 <= label_smoothing < 1:
        raise ZooError(f"model.loss.options.label_smoothing: {label_smoothing} is not a share 0 <= s < 1")
    return CrossEntropy(weights, label_smoothing)


def focal(gamma: float = 2.0, weights: Sequence[float] | None = None) -> ClassLoss:
    """Focal loss -w (1 - p)^gamma log p of the labelled class (Lin et al. 2017, equation 5); gamma 0: cross-entropy.

    weights: a factor per class. Raises ZooError for a negative gamma.
    """
    if gamma < 0:
        raise ZooError(f"model.loss.options.gamma: {gamma} is negative")
    return Focal(gamma, weights)


def dice(smooth: float = 1.0, weights: Sequence[float] | None = None) -> ClassLoss:
    """Soft Dice loss of each sample: 1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), mean over classes.

    After Milletari et al. 2016, with plain instead of squared sums. Sums are over the labelled pixels of one image; an
    image counts by its labels, so that (sum, count) add up over batches and processes whatever their sizes.
    smooth: above 0. weights: a factor per class in the mean. Raises ZooError for values out of range.
    """
    if not smooth > 0:
        raise ZooError(f"model.loss.options.smooth: {smooth} is not above 0")
    return Dice(smooth, weights)
