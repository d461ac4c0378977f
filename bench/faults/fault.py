"""What a fault is."""

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar

from bench.faults.ledger import PASSING
from bench.faults.rig import Rig
from nucleus.personality import PERSONALITIES

NOTHING: frozenset[str] = frozenset()
"""No request may end in an error."""

EVERYWHERE = tuple(PERSONALITIES)


class Fault(ABC):
    """One fault; made for one injection.

    Attributes:
        name: in schedules and tables.
        lasts_s: from injection to healing, at least and at most; 0 where it is over at once.
        allowed: codes of errors in which requests may end meanwhile; others must not be.
        mixes: whether replies may come twice or out of order meanwhile.
        takes_time: whether it is over when `inject` returns, and not when it begins.
        holds_callers: whether it stops those who ask, so that their calls come back late.
        restarts_on: the personalities of the device where processes end by it.
        expected: what is to happen, in words.
    """

    name: ClassVar[str]
    lasts_s: ClassVar[tuple[float, float]] = (0.0, 0.0)
    allowed: ClassVar[frozenset[str]] = PASSING
    allowed_on: ClassVar[Mapping[str, frozenset[str]]] = {}
    mixes: ClassVar[bool] = False
    holds_callers: ClassVar[bool] = False
    takes_time: ClassVar[bool] = False
    restarts_on: ClassVar[Collection[str]] = ()
    expected: ClassVar[str] = ""

    def __init__(self, draw: random.Random) -> None:
        """Takes the dice, which decide what is left open."""
        self.draw = draw

    @classmethod
    def lacks(cls) -> str:
        """What this machine lacks for it; empty where it has all."""
        return ""

    @abstractmethod
    def inject(self, rig: Rig) -> str:
        """Does it; what was done to whom, in a few words."""

    def heal(self, rig: Rig) -> None:  # noqa: B027  (some are over at once)
        """Takes it away again."""
