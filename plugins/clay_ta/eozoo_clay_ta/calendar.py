"""The calendar of a sample in whole numbers, for networks that are exported."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def calendar(seconds: Tensor, sza_centre: Tensor) -> Tensor:
    """``sample_schema.time7`` in whole-number arithmetic: ``(N, 7)`` of ``seconds (N,)`` float64 since 1970-01-01 UTC.

    Days to year and month after Hinnant 2014, "chrono-Compatible Low-Level Date Algorithms" (civil_from_days): years
    begin in March there, so that the leap day comes last. For times from 1970 on.
    """
    minutes = seconds.long() // 60
    since = minutes // 1440
    hour = (minutes - 1440 * since).double() / 60
    shifted = since + 719_468
    era = shifted // 146_097  # of 400 years
    day = shifted - 146_097 * era
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    after = day - (365 * year + year // 4 - year // 100)  # 1 March = 0
    month = (5 * after + 2) // 153
    month = torch.where(month < 10, month + 3, month - 9)
    # January and February belong to the next year; its leap day can no longer lie before them.
    leap = ((year % 4 == 0) & ((year % 100 != 0) | (year == 0))).long()
    of_year = torch.where(month > 2, after + 60 + leap, after - 305)
    parts = []
    for share in (of_year.double() / 365.25, hour / 24, month.double() / 12):
        parts += [torch.sin(2 * math.pi * share), torch.cos(2 * math.pi * share)]
    return torch.cat([torch.stack(parts, dim=1).float(), sza_centre[:, None]], dim=1)
