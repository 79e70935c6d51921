"""Progress that a test reads."""

from __future__ import annotations

from edgegen.core.ports import Silent


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        """See Progress."""
        self.said.append(message)

    @property
    def text(self) -> str:
        """All of it, a message a line."""
        return "\n".join(self.said)
