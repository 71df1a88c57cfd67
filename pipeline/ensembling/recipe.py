"""The recipe of a blend, as weights.json holds it: its members, their weights, and the scale they are combined on."""

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
    """The run's name."""
    path: str
    """The run's folder."""
    weight: float
    """0 if the run was considered but is not used."""
    quantiles: tuple[float, ...] = ()
    """For a blend of ranks: the quantiles of the run's scores on the hold-out; see `pipeline.ensembling.scales`."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(f"the weight of {self.run} must be finite and not negative, not {self.weight}")
        if not all(0 <= low <= high <= 1 for low, high in zip((0.0, *self.quantiles), (*self.quantiles, 1.0))):
            raise ConfigError(f"the quantiles of {self.run} must ascend from 0 to 1")


@dataclass(frozen=True)
class Recipe:
    """How the predictions of several runs are blended into one."""

    members: tuple[Member, ...]
    combine: Scale = "probabilities"
    top_k: int = 100
    """Labels kept for each video."""

    def __post_init__(self) -> None:
        if not self.used or self.top_k < 1:
            raise ConfigError("a blend needs at least one member of weight above 0, and a top_k of at least 1")
        if any(len(member.quantiles) != (QUANTILES if self.combine == "ranks" else 0) for member in self.used):
            raise ConfigError(
                f"each member of a blend of ranks must have {QUANTILES} quantiles, and a member of any other blend none"
            )

    @property
    def used(self) -> tuple[Member, ...]:
        """The members of weight above 0."""
        return tuple(member for member in self.members if member.weight)

    def apply(
        self, labels: Sequence[ArrayLike], scores: Sequence[ArrayLike], num_classes: int
    ) -> tuple[NDArray[np.signedinteger], NDArray[np.float32]]:
        """Blend the lists of the `used` members, in their order: int [N,K_m] labels and float [N,K_m] scores of each.

        Returns labels and float32 scores [N,min(top_k, longest K_m)] and raises ValueError, both as
        `ensembling.combining.blend` does. A video's result does not depend on the other videos of the call.
        """
        values = [
            to_values(given, self.combine, member.quantiles) for given, member in zip(scores, self.used, strict=True)
        ]
        top_k = min(self.top_k, max(np.shape(kept)[-1] for kept in labels))
        best, means = blend(labels, values, [member.weight for member in self.used], top_k, num_classes)
        return best, to_scores(means, self.combine)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, with quantiles only if it combines ranks."""
        values = dataclasses.asdict(self)
        members = [
            {key: value for key, value in each.items() if key != "quantiles" or value} for each in values["members"]
        ]
        return {"combine": self.combine, "top_k": self.top_k, "members": members}

    def settings(self) -> dict[str, Any]:
        """Return all that determines a blend beside the predictions, for `pipeline.artifacts.done.Done`."""
        weights = {member.run: member.weight for member in self.used}
        quantiles = {member.run: digest_json(member.quantiles) for member in self.used if member.quantiles}
        return {"combine": self.combine, "top_k": self.top_k, "weights": weights, "quantiles": quantiles}

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a recipe from a file that holds what `to_dict` returns, and maybe more; raises StageError otherwise."""
        values = read_json(path)
        check_format(path, values)
        try:
            return from_dict(cls, {field.name: values[field.name] for field in dataclasses.fields(cls)}, path)
        except (ConfigError, KeyError, TypeError) as error:
            fault = str(error) if isinstance(error, ConfigError) else f"{path} does not hold the weights of a blend"
            raise StageError(f"{fault}; run ensemble again") from error
