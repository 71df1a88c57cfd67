"""What a blend is made of, as weights.json holds it: members, their weights, and the scale they are combined on."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.artifacts.done import check_format, digest_json
from pipeline.artifacts.files import read_json
from pipeline.config import ConfigError, from_dict
from pipeline.config.errors import StageError
from pipeline.ensembling.combining import blend
from pipeline.ensembling.scales import QUANTILES, Scale, to_scores, to_values


@dataclass(frozen=True)
class Member:
    """One run of a blend."""

    run: str
    """Its name."""
    path: str
    """Its folder."""
    weight: float
    """0 where it was considered and is not used."""
    quantiles: tuple[float, ...] = ()
    """With ranks: the distribution of its scores on the hold-out; see `pipeline.ensembling.scales`."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(f"the weight of {self.run} must be finite and not negative, not {self.weight}")
        if not all(0 <= low <= high <= 1 for low, high in zip((0.0, *self.quantiles), (*self.quantiles, 1.0))):
            raise ConfigError(f"the quantiles of {self.run} must ascend from 0 to 1")


@dataclass(frozen=True)
class Recipe:
    """How predictions of several runs become one."""

    members: tuple[Member, ...]
    combine: Scale = "probabilities"
    top_k: int = 100
    """Labels kept for each video."""

    def __post_init__(self) -> None:
        if not self.used or self.top_k < 1:
            raise ConfigError("a blend needs a member of weight above 0, and top_k of at least 1")
        if any(len(member.quantiles) != (QUANTILES if self.combine == "ranks" else 0) for member in self.used):
            raise ConfigError(f"members of a blend of ranks have {QUANTILES} quantiles, those of another have none")

    @property
    def used(self) -> tuple[Member, ...]:
        """The members that have a weight."""
        return tuple(member for member in self.members if member.weight)

    def apply(
        self, labels: Sequence[ArrayLike], scores: Sequence[ArrayLike], num_classes: int
    ) -> tuple[NDArray[np.signedinteger], NDArray[np.float32]]:
        """Blend the lists of `used`, in their order: int [N,K_m] labels and float [N,K_m] scores of each.

        Returns labels and float32 scores [N,min(top_k, the longest K_m)], as `ensembling.combining.blend` does, and
        raises ValueError where it does. Any number of videos at a time, of any split, gives the same.
        """
        values = [
            to_values(given, self.combine, member.quantiles) for given, member in zip(scores, self.used, strict=True)
        ]
        top_k = min(self.top_k, max(np.shape(kept)[-1] for kept in labels))
        best, means = blend(labels, values, [member.weight for member in self.used], top_k, num_classes)
        return best, to_scores(means, self.combine)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; quantiles only with ranks."""
        values = dataclasses.asdict(self)
        members = [
            {key: value for key, value in each.items() if key != "quantiles" or value} for each in values["members"]
        ]
        return {"combine": self.combine, "top_k": self.top_k, "members": members}

    def settings(self) -> dict[str, Any]:
        """What its blends follow from beside the predictions, for `pipeline.artifacts.done.Done`."""
        weights = {member.run: member.weight for member in self.used}
        quantiles = {member.run: digest_json(member.quantiles) for member in self.used if member.quantiles}
        return {"combine": self.combine, "top_k": self.top_k, "weights": weights, "quantiles": quantiles}

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """From a file that holds what `to_dict` gives, and maybe more. Raises StageError where it is not so."""
        values = read_json(path)
        check_format(path, values)
        try:
            return from_dict(cls, {field.name: values[field.name] for field in dataclasses.fields(cls)}, path)
        except (ConfigError, KeyError, TypeError) as error:
            fault = str(error) if isinstance(error, ConfigError) else f"{path}: no weights of a blend"
            raise StageError(f"{fault}; run ensemble again") from error
