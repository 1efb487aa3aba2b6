"""How data that come as one piece are divided into train, val and test; see ``checking.design``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from eozoo_core.settings.schema import Settings


class SplitSettings(Settings):
    """How the data are divided into training, validation and test."""

    by: Literal["auto", "blocks", "distance", "column", "samples"] = Field(
        "auto",
        description="blocks: squares on the ground; distance: clusters at least 'gap' apart; column: what shares a "
        "value stays together, or the words train, val, test; samples: at random. auto = column where one is named, "
        "else blocks, without coordinates samples.",
    )
    column: str | None = Field(None, description="Column of groups (site, farm, year), or of the words train/val/test.")
    block: float | None = Field(
        None, gt=0, description="blocks: side of a square, m (without georeference px); null = about 100 squares."
    )
    gap: float = Field(
        0.0, ge=0, description="Least distance between two splits, m (px); what lies nearer is in none of them."
    )
    val: float = Field(0.15, ge=0, lt=1, description="Share of the labels for validation.")
    test: float = Field(0.15, ge=0, lt=1, description="Share of the labels for the test.")
    stratify: bool = Field(True, description="Share every class (of numbers: low to high values) as the labels.")
    seed: int = Field(0, ge=0, description="Seed of the division.")

    folds: int = Field(0, ge=0, description="Cross-validation: equal parts, of which one is the test; 0 = by 'test'.")
    fold: int = Field(0, ge=0, description="Which of the folds is the test.")
    labels: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the labelled units of train and val that is kept, of each class: few labels.",
    )

    @model_validator(mode="after")
    def _possible(self) -> SplitSettings:
        if self.val + self.test >= 1:
            raise ValueError("val and test leave nothing to train on: their sum must be below 1")
        if self.by == "column" and self.column is None:
            raise ValueError("by column needs 'column', the name of one")
        if self.folds and not (self.folds > 1 and self.fold < self.folds):
            raise ValueError("folds must be 2 or more, and fold one of 0..folds-1")
        if self.by == "distance" and not self.gap:
            raise ValueError("by distance needs 'gap', the least distance between two splits")
        return self

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of train, val and test; with folds val has its share of what is not the test."""
        if self.folds:
            rest = 1 - 1 / self.folds
            return (rest * (1 - self.val), rest * self.val, 1 / self.folds)
        return (1 - self.val - self.test, self.val, self.test)
