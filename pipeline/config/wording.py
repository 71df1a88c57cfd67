"""How messages say numbers of things."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: 1 video, 2 videos; a plural that is not made by an s is given."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
