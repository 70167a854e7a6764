"""A finished round in git and in DVC's remote, also one whose process was killed before that."""

from __future__ import annotations

from ouro.core.params import load_params
from ouro.core.state import CHECKOUT
from ouro.rounds.ledger import Round, read_round, tag
from tasks import screen, versioning
from tasks.round_tracking import log_pending
from tasks.saturation import is_finished

UNPUSHED = CHECKOUT.unpushed  # there is a round that the remote has not got


def check_next_commit() -> None:
    """Raise VersioningError when the round that comes next could not be committed."""
    number = load_params().round
    versioning.check_commit(tag(number + 1 if is_finished(number) else number))


def commit_finished(record: Round) -> None:
    """Commit and tag a finished round."""
    verdict = "promoted" if record.verdict.promoted else "refused"
    UNPUSHED.touch()
    commit_id = versioning.commit_round(record.tag, f"{record.tag}: {verdict}; {record.verdict.reasons[0]}")
    screen.say(f"git: {record.tag} is commit {commit_id}")


def commit_pending(number: int) -> None:
    """Commit a finished round without a commit: its process was killed in between, or ran without --commit."""
    if is_finished(number) and not versioning.has_tag(tag(number)):
        if versioning.is_up_to_date():
            commit_finished(read_round(number))
        else:
            screen.say(f"round {number} ended without a commit, and something has changed since: it gets no tag")


def finish_pending(number: int, committing: bool) -> None:
    """Finish what a killed process of an earlier round left: its commit, the push, MLflow. Raises VersioningError, also
    where the next round could not be committed."""
    if committing:
        commit_pending(number)
        check_next_commit()
    if UNPUSHED.exists():
        push()
    log_pending(number)


def push() -> None:
    """Send the round's data to the remote, if one is set. Raises VersioningError."""
    if versioning.has_remote():
        versioning.push_data()
        screen.say("dvc push: the remote has everything")
    UNPUSHED.unlink(missing_ok=True)
