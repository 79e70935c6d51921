"""The order of operators that needs the least memory at its worst moment.

Exact where the graph has few sets of finished operators (a chain has one a step): dynamic programming over them, as in
Liberis and Lane, "Neural networks on microcontrollers: saving memory at inference via operator reordering"
(arXiv:1910.05110), with in-place outputs counted. Beyond that greedy, and never worse than the file's own order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgegen.export.c.storage import Step

MOST_STATES = 20_000


def order(steps: Sequence[Step], sizes: Mapping[str, int]) -> list[int]:
    """The steps' places in the order in which they shall run.

    Args:
        steps: in an order that works.
        sizes: of the storages in the arena; what is in none of them costs nothing.
    """
    problem = _Problem(steps, sizes)
    plain = list(range(len(steps)))
    best = problem.exact()
    if best is None:
        best = problem.greedy()
    return best if problem.peak(best) < problem.peak(plain) else plain


def peak_bytes(steps: Sequence[Step], sizes: Mapping[str, int]) -> int:
    """The largest sum of bytes that are alive at any step, run as they stand."""
    return _Problem(steps, sizes).peak(range(len(steps)))


class _Problem:
    def __init__(self, steps: Sequence[Step], sizes: Mapping[str, int]) -> None:
        self._steps = steps
        self._sizes = sizes
        # Parts of one storage may have makers of their own.
        makers: dict[str, int] = {}
        for place, step in enumerate(steps):
            for name in step.makes:
                makers[name] = makers.get(name, 0) | 1 << place
        self._needs = [self._needed(place, makers) for place in range(len(steps))]
        self._readers = {
            name: sum(1 << place for place, step in enumerate(steps) if name in step.reads) for name in sizes
        }
        self._makers = {name: makers[name] for name in sizes if name in makers}

    def _needed(self, place: int, makers: Mapping[str, int]) -> int:
        """The steps that must be done before one."""
        step, needed = self._steps[place], 0
        if step.after is not None:
            return sum(1 << other for other, made in enumerate(self._steps) if made.node.name in step.after)
        for name in step.reads:
            needed |= makers.get(name, 0)
        return needed & ~(1 << place)

    def _live(self, done: int) -> int:
        """Bytes that must survive when the steps in the set are done."""
        return sum(
            self._sizes[name] for name, maker in self._makers.items() if done & maker and self._readers[name] & ~done
        )

    def _cost(self, done: int, place: int) -> int:
        """Bytes alive while a step runs."""
        step = self._steps[place]
        after = done | 1 << place
        cost = self._live(done) + step.scratch_bytes
        for number, name in enumerate(name for name in step.makes if name in self._sizes):
            taken = number == 0 and taken_place(step, self._sizes, lambda old: not self._readers[old] & ~after)
            begun = self._makers[name] & done and self._readers[name] & ~done  # it is counted among what lives
            if not taken and not begun:
                cost += self._sizes[name]
        return cost

    def _ready(self, done: int) -> list[int]:
        return [place for place, needs in enumerate(self._needs) if not done >> place & 1 and needs & done == needs]

    def peak(self, run: Sequence[int]) -> int:
        """Of an order."""
        done, worst = 0, 0
        for place in run:
            worst = max(worst, self._cost(done, place))
            done |= 1 << place
        return worst

    def exact(self) -> list[int] | None:
        """The best order; None where there are too many sets of finished steps to look at."""
        states: dict[int, tuple[int, int]] = {0: (0, -1)}  # done -> (peak, the step done last)
        layer, seen = [0], 1
        for _ in self._steps:
            following: dict[int, tuple[int, int]] = {}
            for done in layer:
                for place in self._ready(done):
                    after, worst = done | 1 << place, max(states[done][0], self._cost(done, place))
                    if after not in following or worst < following[after][0]:
                        following[after] = (worst, place)
            seen += len(following)
            if seen > MOST_STATES:
                return None
            states |= following
            layer = sorted(following)
        run, done = [], (1 << len(self._steps)) - 1
        while done:
            place = states[done][1]
            run.append(place)
            done ^= 1 << place
        return run[::-1]

    def greedy(self) -> list[int]:
        """Always the step that needs least while it runs, then leaves least behind."""
        run, done = list[int](), 0
        while len(run) < len(self._steps):
            now = done
            place = min(
                self._ready(now), key=lambda place: (self._cost(now, place), self._live(now | 1 << place), place)
            )
            run.append(place)
            done |= 1 << place
        return run


def taken_place(step: Step, sizes: Mapping[str, int], dead: Callable[[str], bool]) -> str:
    """The storage whose memory the step's first output takes; empty: none.

    Args:
        dead: tells whether nothing reads a storage after this step.
    """
    made = step.makes[0] if step.makes else ""
    if made not in sizes:
        return ""
    for old in step.in_place:
        if sizes.get(old) == sizes[made] and dead(old):
            return old
    return ""
