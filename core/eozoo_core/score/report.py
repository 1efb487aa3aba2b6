"""One self-contained HTML page from text, tables and PNG pictures: opens anywhere, needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from eozoo_core.run.written import write_text

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem} h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;margin:.5rem 0} td,th{padding:.2rem .8rem;border-bottom:1px solid #eee;text-align:right}
td:first-child,th:first-child{text-align:left} figure{margin:1rem 0} img{max-width:100%} figcaption{color:#555}
.note{background:#fff6dd;padding:.5rem 1rem;border-left:4px solid #e0a800}
"""


@dataclass(frozen=True)
class Text:
    """A paragraph; ``note`` sets it in a box that cannot be overlooked (synthetic data, random weights ...)."""

    text: str
    note: bool = False

    def html(self) -> str:
        """Return the element."""
        return f"<p{' class=note' if self.note else ''}>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Table:
    """Rows under column names; numbers as they shall be read (format them first)."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """Return the element."""
        head = "".join(f"<th>{escape(c)}</th>" for c in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in self.rows)
        return f"<table><tr>{head}</tr>{body}</table>"


@dataclass(frozen=True)
class Picture:
    """A PNG file, embedded, with a caption that says what to see."""

    file: Path
    caption: str

    def html(self) -> str:
        """Return the element."""
        data = base64.b64encode(Path(self.file).read_bytes()).decode()
        caption = escape(self.caption)
        image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def score_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Return predictor -> metric -> value as a table, a row for each metric that any predictor has."""
    metrics = list(dict.fromkeys(name for values in scores.values() for name in values))
    rows = [[name, *(f"{v[name]:.4g}" if name in v else "" for v in scores.values())] for name in metrics]
    return Table(["", *scores], rows)


def write_report(path: Path, title: str, sections: dict[str, Sequence[Text | Table | Picture]]) -> Path:
    """Write heading -> elements as one HTML page, atomically."""
    parts = [
        f"<h2>{escape(heading)}</h2>" + "".join(e.html() for e in elements) for heading, elements in sections.items()
    ]
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1>{''.join(parts)}</html>\n"
    )
    write_text(path, page)
    return Path(path)
