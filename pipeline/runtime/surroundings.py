"""What a process finds set for the sake of other programs: it does not reach a stage."""

import codecs
import os
import sys
import warnings
from pathlib import Path

_KERAS = Path(__file__).with_name("keras_home")
"""Keras reads ~/.keras/keras.json, where another project may have set float16; this folder has one of our own."""
_BARS = "TQDM_"
"""How names of settings of progress bars begin: some would leave out bars, and one that is no number stops tqdm."""
_FOREIGN = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "MPLBACKEND")
"""The first two cut a training short and say nothing. Pictures need no backend, and a wrong one stops matplotlib."""


def keep_out() -> None:
    """Call it first in a process: the libraries look at these settings when they are imported.

    Keras has the settings of `keras_home`, whatever the home folder holds; KERAS_BACKEND still chooses the backend.
    Warnings of libraries stay warnings, also where PYTHONWARNINGS makes them errors in the tests of other programs.
    What the standard output cannot encode is written as in JSON, such as `\\u00e9`, and is no error.
    """
    os.environ["KERAS_HOME"] = str(_KERAS)
    for variable in [*_FOREIGN, *(each for each in os.environ if each.startswith(_BARS))]:
        os.environ.pop(variable, None)
    if "error" in os.environ.get("PYTHONWARNINGS", ""):
        warnings.simplefilter("ignore")
    codecs.register_error("json", _as_json)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="json")


def _as_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2])), error.end
