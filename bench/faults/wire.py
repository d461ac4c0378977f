"""Faults of the connection, done by the proxy."""

from collections.abc import Callable

from bench.faults.fault import NOTHING, Fault
from bench.faults.ledger import PASSING
from bench.faults.proxy import (
    TO_CLIENT,
    TO_DEVICE,
    Cut,
    Deaf,
    Double,
    Select,
    Shorten,
    Stall,
    Swap,
    Tamper,
    Trickle,
    WrongToken,
    everyone,
)
from bench.faults.rig import Rig


class WireFault(Fault):
    """Does something to the frames of somebody's connections, in one direction."""

    directions: tuple[str, ...] = (TO_DEVICE, TO_CLIENT)

    def inject(self, rig: Rig) -> str:
        who, select = self.choose(rig)
        direction = self.draw.choice(self.directions)
        n_links = rig.proxy.tamper(select, direction, self.tamper())
        return f"{who} {direction}, {n_links} connections"

    def heal(self, rig: Rig) -> None:
        rig.proxy.heal()

    def choose(self, rig: Rig) -> tuple[str, Select]:
        """Whose connections."""
        server = rig.server()
        pid = 0 if server is None else server.pid
        others = {asker.child.process.pid for asker in rig.askers}
        choices: list[tuple[str, Select]] = [
            ("component", lambda link: link.pid == pid),
            ("askers", lambda link: link.pid in others),
            ("everyone", everyone),
        ]
        return self.draw.choice(choices)

    def tamper(self) -> Callable[[], Tamper]:
        """Makes what is done to a connection."""
        raise NotImplementedError


class CutFrame(WireFault):
    """Ends connections in the middle of a frame."""

    name = "cut in a frame"
    lasts_s = (0.2, 0.5)
    expected = "both sides connect anew; who waited gets connection_lost"

    def tamper(self) -> Callable[[], Tamper]:
        share = self.draw.uniform(0.02, 0.98)
        return lambda: Cut(share)


class ShortFrame(WireFault):
    """Leaves bytes of a frame out, so that no checksum fits any more."""

    name = "bytes missing"
    lasts_s = (0.2, 0.5)
    expected = "the checksum is noticed, and the connection is made anew"

    def tamper(self) -> Callable[[], Tamper]:
        n_bytes = self.draw.randrange(1, 24)
        return lambda: Shorten(n_bytes)


class TrickledFrames(WireFault):
    """Sends a few bytes at a time, with pauses."""

    name = "trickle"
    lasts_s = (2.0, 5.0)
    expected = "all becomes slow, and is as before afterwards"

    def tamper(self) -> Callable[[], Tamper]:
        n_bytes, pause_s = self.draw.randrange(1, 200), self.draw.uniform(0.0005, 0.003)
        return lambda: Trickle(n_bytes, pause_s)


class StalledFrames(WireFault):
    """Sends nothing for a while, without an end of the connection."""

    name = "stall"
    lasts_s = (1.0, 6.0)
    expected = "requests run into their timeout; what was held up arrives late, and is dropped"

    def tamper(self) -> Callable[[], Tamper]:
        return Stall


class DoubledEvents(WireFault):
    """Delivers each message of a subscription twice."""

    name = "duplicates"
    lasts_s = (2.0, 4.0)
    allowed = NOTHING
    mixes = True
    directions = (TO_CLIENT,)
    expected = "the component answers twice, and the second reply is dropped"

    def tamper(self) -> Callable[[], Tamper]:
        return Double


class SwappedEvents(WireFault):
    """Delivers messages of subscriptions in another order."""

    name = "reordering"
    lasts_s = (2.0, 4.0)
    allowed = NOTHING
    mixes = True
    directions = (TO_CLIENT,)
    expected = "each reply finds its request by its id"

    def tamper(self) -> Callable[[], Tamper]:
        return Swap


class SilentDeafness(WireFault):
    """Keeps subscriptions open, and delivers nothing on them any more."""

    name = "silent deafness"
    directions = (TO_CLIENT,)
    expected = "probes do not come back, and the connection is made anew within 15 s"

    def tamper(self) -> Callable[[], Tamper]:
        return Deaf


class RefusedToken(Fault):
    """Cuts the component's connection, and has its next token refused."""

    name = "token refused"
    restarts_on = ("classic",)
    allowed = PASSING
    expected = "classic: the component ends and is started anew; lite: it tries again"

    def inject(self, rig: Rig) -> str:
        server = rig.server()
        pid = 0 if server is None else server.pid
        rig.proxy.tamper_next(lambda link: link.pid == pid, TO_DEVICE, WrongToken)
        n_links = rig.proxy.cut(lambda link: link.pid == pid)
        return f"component, {n_links} connections"
