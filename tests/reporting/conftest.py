"""What the tests of pictures share."""

import pytest
from matplotlib.figure import Figure

from pipeline.reporting import style


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that were drawn; outside of a test they are pictures alone."""
    kept: list[Figure] = []

    def keep(*arguments, **settings):
        kept.append(Figure(*arguments, **settings))
        return kept[-1]

    monkeypatch.setattr(style, "Figure", keep)
    return kept
