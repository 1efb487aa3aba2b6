"""Encoder and classification head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from eozoo_core import ZooError
from torch import nn

from eozoo_barlow_twins.networks import Encoder


class Classifier(nn.Module):
    """Class scores (logits) ``(B, K)`` of ``bands (B, L, C)`` digital numbers, ``doys (B, L)``.

    ``trainable``: "head", "last" (also the encoder's ``last_layers`` last layers) or "all". What is not trained stays
    in eval mode, so that its dropout is off and its batch statistics do not move, also while the rest trains.
    """

    def __init__(self, encoder: Encoder, head: nn.Module, trainable: str, last_layers: int):
        super().__init__()
        self.encoder, self.head, self._trainable = encoder, head, trainable
        self._trained: list[nn.Module] = [head]
        if trainable == "all":
            self._trained.append(encoder)
        elif trainable == "last":
            if not hasattr(encoder.backbone, "last"):
                raise ZooError("model.trainable 'last': this encoder does not say what its last layers are; use 'all'")
            self._trained += encoder.backbone.last(last_layers)
        encoder.requires_grad_(trainable == "all")
        for module in self._trained:
            module.requires_grad_(True)

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.head(self.encoder(bands, doys))

    def train(self, mode: bool = True) -> Classifier:
        """Set training mode for what is trained only."""
        super().train(False)
        for module in self._trained:
            module.train(mode)
        self.training = mode
        return self


def make_head(kind: str, latent_dim: int, classes: int, hidden: Sequence[int], dropout: float) -> nn.Module:
    """A linear layer, or an MLP with ReLU and dropout after each hidden layer, on the layer-normalised embedding.

    Without the normalisation the learning rate that suits the head would depend on the scale of the embedding.
    """
    parts: list[nn.Module] = [nn.LayerNorm(latent_dim)]
    size = latent_dim
    for width in hidden if kind == "mlp" else ():
        parts += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
        size = width
    return nn.Sequential(*parts, nn.Linear(size, classes))
