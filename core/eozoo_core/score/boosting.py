"""What cross-validation fits beside ridge and forest: boosted trees and, of classes, a logistic fit (scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fit:
    """A fitted estimator: `predict` gives (n, K) like `Forest`. ``known``: columns of the classes that it saw."""

    model: Any
    features: int
    residual: float
    columns: int
    known: np.ndarray | None = None

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return (n, K) float64 for features (n, F), NaN = missing: a number, or probabilities of the classes."""
        if not len(x):
            return np.zeros((0, self.columns))
        if self.known is None:
            return self.model.predict(x)[:, None]
        found = np.zeros((len(x), self.columns))
        found[:, self.known] = self.model.predict_proba(x)
        return found


def fit_more(x: np.ndarray, y: np.ndarray, fold: np.ndarray, classes: bool) -> dict[str, Fit]:
    """Fit "boosting" and, of classes, "logistic" on features (n, F) and targets (n, K); K are indicators of classes.

    Boosting: histogram trees at scikit-learn's defaults, NaN takes a way of its own; the residual is that on the first
    ``fold`` (n,) of a fit without it. Logistic: standardised, missing features are the mean.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if not classes:
        out = fold == fold.min()
        left = HistGradientBoostingRegressor(random_state=0).fit(x[~out], y[~out, 0]) if not out.all() else None
        error = y[out, 0] - (y[~out, 0].mean() if left is None else left.predict(x[out]))
        model = HistGradientBoostingRegressor(random_state=0).fit(x, y[:, 0])
        return {"boosting": Fit(model, x.shape[1], float(np.sqrt(max((error**2).mean(), 1e-12))), 1)}
    target, known = y.argmax(axis=1), np.flatnonzero(y.any(axis=0))
    if len(known) < 2:
        return {}
    made = {"boosting": HistGradientBoostingClassifier(random_state=0, early_stopping=False)}
    scaled = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(max_iter=2000))
    made["logistic"] = scaled
    return {name: Fit(one.fit(x, target), x.shape[1], 0.0, y.shape[1], known) for name, one in made.items()}
