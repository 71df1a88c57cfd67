"""Numbers, times and names as the page writes them."""

import math
from datetime import UTC, datetime

from markupsafe import Markup, escape

NOTHING = "–"
"""Stands for a number that nobody knows."""


def score(value: float | None) -> str:
    """A score from 0 to 1, with four decimals."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.4f}"


def count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def percent(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{100 * value:.0f} %"


def signed(value: float) -> str:
    """A difference of scores."""
    return f"{value:+.4f}".replace("-", "−")


def millions(value: int | None) -> str:
    return NOTHING if value is None else f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value:,}"


def moment(value: str | None) -> str:
    """A moment in ISO 8601 with its time zone, to the minute."""
    return NOTHING if value is None else f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float | None) -> str:
    """Two units at most: 9.4 s, 2 min 5 s, 3 h 20 min."""
    if seconds is None:
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def breakable(name: str) -> Markup:
    """A long name that may go on in the next line after its underscores and hyphens."""
    return Markup(str(escape(name)).replace("_", "_<wbr>").replace("-", "-<wbr>"))


FILTERS = {each.__name__: each for each in (score, count, percent, signed, millions, moment, duration, breakable)}
"""By the names that the page uses."""
