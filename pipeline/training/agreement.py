"""A request to stop that all hosts hear of at the same place of their work, so that they end with the same step."""

from pipeline.runtime.cluster import Cluster
from pipeline.runtime.signals import StopRequest


class Agreement(StopRequest):
    """What `own`, the request of this host, says, as soon as all hosts have heard of it.

    Args:
        own: whether a signal has asked this host to stop.
        cluster: the hosts.
    """

    def __init__(self, own: StopRequest, cluster: Cluster):
        super().__init__()
        self._own = own
        self._cluster = cluster

    def hear(self) -> None:
        """Ask all hosts whether to stop; each must ask after the same step or batch."""
        self.signal = self._cluster.agree(self._own.signal or 0) or None
