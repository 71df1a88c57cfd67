"""What the hosts that train one run tell each other before it begins: whether, and with which settings and data."""

from dataclasses import dataclass

from pipeline.artifacts.done import digest_json
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.runtime.hosts import mine
from pipeline.training.run_plan import RunPlan


@dataclass(frozen=True)
class Called:
    """What host 0 is about to train with."""

    precision: str
    """What `auto` stands for there."""
    digest: str
    """Of the settings of the run and the digest of its index."""

    def check(self, plan: RunPlan, index: Index) -> None:
        """Raise StageError if this host would train with other settings, or from another index."""
        if _digest(plan, index) != self.digest:
            raise StageError(
                f"{plan.folder} is trained with other settings by host 0, or from another index: give each host the "
                "same command but for --host, and the same data"
            )


def dismiss() -> None:
    """On host 0: tell the others that there is nothing to train."""
    mine().tell(None)


def call(plan: RunPlan, index: Index) -> None:
    """On host 0: call the others to train with it."""
    mine().tell([plan.experiment.training.precision, _digest(plan, index)])


def called() -> Called | None:
    """On the other hosts: wait for what host 0 says; None if there is nothing to train."""
    return Called(*told) if (told := mine().tell(None)) else None


def begin() -> None:
    """On each host: wait until all of them are ready, and host 0 has made room for the run."""
    mine().tell("begin")


def _digest(plan: RunPlan, index: Index) -> str:
    return digest_json(plan.config, index.digest)
