"""``timm_unet``: a decoder with skips around a timm encoder; a module of its own as timm takes seconds to import."""

from __future__ import annotations

import timm
import torch
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.unet import DoubleConv, Up, crop, pad_right_bottom
from torch import nn

# Transformers are built for one image size unless asked otherwise, each family in its own words; the first that the
# encoder accepts is taken, and convolutional ones accept only the last.
_ANY_SIZE = ({"dynamic_img_size": True, "strict_img_size": False}, {"dynamic_img_size": True}, {})


class TimmUNet(nn.Module):
    """Encoder features at 1/2, 1/4 ... of the size, joined on the way up to full resolution.

    Where the encoder has no map at full resolution (nearly all), a small convolution of the input itself is the last
    skip: a shot labels one pixel, and an encoder that starts at 1/4 has averaged that pixel away.

    ``receipt`` says which published weights the encoder began with, None where with random ones.
    """

    multiple = 1

    def __init__(
        self,
        in_channels: int,
        outputs: int,
        encoder: str,
        decoder_channels: tuple[int, ...],
        pretrained: bool,
        dropout: float,
    ):
        super().__init__()
        self.encoder = _create(encoder, in_channels, pretrained)
        self.receipt = f"{encoder} of timm {timm.__version__}, published weights" if pretrained else None
        info = self.encoder.feature_info
        # Plain transformers give several maps of one size; the deepest of each size is used.
        self.channels = dict(zip(info.reduction(), info.channels(), strict=True))
        self.coarsest = max(self.channels)
        doublings = self.coarsest.bit_length() - 1
        if 2**doublings != self.coarsest:
            raise ZooError(f"model.options.encoder: {encoder!r} shrinks {self.coarsest} times, not a power of two")
        if len(decoder_channels) < doublings or min(decoder_channels) < 1:
            raise ZooError(f"model.options.decoder_channels: {encoder!r} needs {doublings} numbers of channels >= 1")
        used = decoder_channels[:doublings]
        self.entry = DoubleConv(in_channels, used[-1]) if 1 not in self.channels else None
        skips = {1: used[-1], **self.channels}
        below = self.channels[self.coarsest]
        self.up = nn.ModuleList()
        for step, after in enumerate(used, start=1):
            self.up.append(Up(below, skips.get(self.coarsest >> step, 0), after))
            below = after
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(below, outputs, 1)
        _probe(self, encoder, in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, outputs, H, W)."""
        height, width = x.shape[-2:]
        x = pad_right_bottom(x, self.coarsest, 2 * self.coarsest)
        skips = dict(zip(self.encoder.feature_info.reduction(), self.features(x), strict=True))
        if self.entry is not None:
            skips[1] = self.entry(x)
        below = self.dropout(skips[self.coarsest])
        for step, up in enumerate(self.up, start=1):
            below = up(below, skips.get(self.coarsest >> step))
        return crop(self.head(self.dropout(below)), height, width)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of the encoder, fine to coarse, each (B, channels, h, w)."""
        maps = self.encoder(x)
        if str(getattr(self.encoder, "output_fmt", "NCHW")).endswith("NHWC"):
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        return maps


def _create(encoder: str, in_channels: int, pretrained: bool) -> nn.Module:
    if timm.models.is_model(encoder) is False:
        raise ZooError(f"model.options.encoder: timm has no {encoder!r}.{_suggestion(encoder)}")
    for words in _ANY_SIZE:
        try:
            return timm.create_model(encoder, pretrained=pretrained, features_only=True, in_chans=in_channels, **words)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            raise ZooError(f"model.options.encoder: timm cannot take maps from {encoder!r} ({error})") from None
        except OSError as error:
            raise ZooError(
                f"model.options.pretrained: the weights of {encoder!r} cannot be fetched ({_line(error)})"
            ) from None
    raise ZooError(f"model.options.encoder: timm gives no feature maps of {encoder!r}; resnet18 is one that has them")


def _suggestion(encoder: str) -> str:
    close = timm.list_models(f"*{encoder}*")[:5]
    return f" Near: {', '.join(close)}." if close else did_you_mean(encoder, timm.list_models()).split(" Known")[0]


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _probe(network: TimmUNet, encoder: str, in_channels: int) -> None:
    """Find out now, not after an hour of reading data, whether the encoder takes sizes other than its own."""
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, in_channels, 2 * network.coarsest, 3 * network.coarsest))
    except (AssertionError, RuntimeError) as error:
        raise ZooError(
            f"model.options.encoder: {encoder!r} does not take every image size ({_line(error)}); resnet18 does"
        ) from None
    network.train()
