"""A request to stop that all hosts hear of at the same place of their work, so that they end with the same step."""

from pipeline.runtime.hosts import Hosts
from pipeline.runtime.signals import StopRequest


class Agreement(StopRequest):
    """What `own`, the request of this host, says, as soon as all hosts have heard of it.

    Args:
        own: whether a signal has asked this host to stop.
        hosts: all of them, this one too.
    """

    def __init__(self, own: StopRequest, hosts: Hosts):
        super().__init__()
        self._own = own
        self._hosts = hosts

    def hear(self) -> None:
        """Ask all hosts whether to stop; each must ask after the same step or batch."""
        self.signal = self._hosts.agree(self._own.signal or 0) or None
