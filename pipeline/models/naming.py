"""The names of a feature's layers: its own, wherever Keras takes that and no other layer has it."""

import re
from collections.abc import Sequence

_OWN = re.compile(
    r"frames|num_frames|mask|frame_dropout|descriptor(_norm|_dropout)?|hidden(_norm|_relu)?|gating|output_gating|head"
    r"|head_hidden_\d+(_norm|_relu)?|head_dropout_\d+"
)
"""Names of the layers that the model has whatever its features are."""
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""What every backend takes in a name."""
PARTS = ("norm", "noise", "pooling")
"""A feature has a layer of its name, and others named `<name>_<part>`."""


def layer_names(features: Sequence[str]) -> tuple[str, ...]:
    """Return a name for the layers of each feature, all different, given the names of the features, all different.

    It is the feature's name, or `feature_<number>` where that is long, has other characters than a name of a layer may
    have, or is the name of another layer, such as `frames`. Stored models hold these names.
    """
    others = {f"{name}_{part}" for name in features for part in PARTS}
    found = [
        name if _PLAIN.fullmatch(name) and name not in others and not _OWN.fullmatch(name) else "" for name in features
    ]
    for number, name in enumerate(found):
        if not name:
            taken = {*found, *(f"{other}_{part}" for other in found for part in PARTS)}
            found[number] = f"feature_{number}"
            while found[number] in taken or any(f"{found[number]}_{part}" in taken for part in PARTS):
                found[number] += "_"
    return tuple(found)
