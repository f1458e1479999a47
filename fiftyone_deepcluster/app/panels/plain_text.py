"""Text of users, such as cluster names, shown as it is in views that interpret markup.

A name may hold characters of Markdown or HTML: ``![](https://...)`` in a Markdown view would request that address.
"""

from __future__ import annotations

import html
import re

_MARKUP = re.compile(r"([\\`*_\[\]<>&~|#])")
_LINES = re.compile(r"\s*\n\s*")


def in_markdown(text: str) -> str:
    """The text as one line of Markdown that is displayed as the text itself."""
    return _MARKUP.sub(r"\\\1", _LINES.sub(" ", text))


def in_plot(text: str) -> str:
    """The text for labels of plots, which interpret tags and entities of HTML."""
    return html.escape(text, quote=False)
