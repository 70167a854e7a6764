"""Where the reading of a sentence is."""

from __future__ import annotations

from dataclasses import dataclass, field

NEAR = 6  # things before a pronoun that it may speak of


@dataclass
class Clause:
    """Where the reading of a sentence is, things by number: the subject, the thing before, the list that this ends,
    and what stands before the subject ("On the left, ..."), with its relations. -1: none."""

    number: int
    subject: int = -1
    previous: int = -1
    guess: bool = False  # its subject is a pronoun
    acts: bool = False  # its subject has a verb
    group: list[int] = field(default_factory=list[int])
    pending: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    subjects: list[int] = field(default_factory=list[int])  # the last ones

    @property
    def head(self) -> int:
        """The subject, else the thing before."""
        return self.subject if self.subject >= 0 else self.previous

    def begin(self, subject: int) -> None:
        """A new subject."""
        self.subject, self.group, self.pending = subject, [subject], []
        self.subjects = [*(at for at in self.subjects if at != subject), subject][-NEAR:]
