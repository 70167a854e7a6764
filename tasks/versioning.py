"""What a round leaves in git and DVC: named paths in one commit, a tag, and the data in the remote.

Everything goes through the commands `git` and `dvc`; nothing that was not named is ever added or committed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ouro.core.errors import OuroError
from tasks.processes.dvc import call_dvc
from tasks.remotes import default_remote, remote_problem

ROUND_PATHS = ("params.yaml", "dvc.lock", "data/.gitignore", "models/.gitignore", "models/champions", "rounds")


class VersioningError(OuroError, ValueError):
    """git or DVC cannot do what a round needs; says what to do."""


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _git(*arguments: str) -> str:
    """The output of a git command. Raises VersioningError with git's error text."""
    process = _call(["git", *arguments])
    if process.returncode != 0:
        raise VersioningError(f"git {' '.join(arguments[:2])}: {(process.stderr or process.stdout).strip()[-600:]}")
    return process.stdout.rstrip()


def _error_summary(process: subprocess.CompletedProcess[str]) -> str:
    """The error text of a DVC command on one line, without DVC's advertisements."""
    lines = [line.strip() for line in (process.stderr or process.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    return "; ".join(line.removeprefix("ERROR: ") for line in errors)[-600:]


def check_commit(tag: str) -> None:
    """Raise VersioningError when a round could not be committed and tagged: before anything is started.

    Changes of tracked files that are not the round's own would not be in its commit, so that its tag would not say
    what ran.
    """
    if _call(["git", "var", "GIT_AUTHOR_IDENT"]).returncode != 0:
        raise VersioningError(
            "git: got no name and address for commits. Fix: git config user.name NAME; git config user.email ADDRESS"
        )
    changes = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    foreign = [line[3:] for line in changes if not line[3:].strip('"').startswith(ROUND_PATHS)]
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise VersioningError(
            f"git: {', '.join(foreign[:3])}{more} changed and not committed; a round's tag would not say what ran. "
            "Fix: commit or stash them, or run without --commit (bootstrap.commit: false)"
        )
    remote = default_remote()
    if remote and (problem := remote_problem(remote)).text and not problem.passing:
        raise VersioningError(f"{problem.text}, or run without --commit")  # before a round that it could not keep
    if has_tag(tag):
        raise VersioningError(
            f"git: the tag {tag} exists already, expected none for a round that has not ended here. Fix: check out the "
            f"last round's tag, or delete {tag} (git tag -d {tag}) if its round is to be run again"
        )


def has_tag(tag: str) -> bool:
    """Whether git has that tag."""
    return _call(["git", "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}"]).returncode == 0


def commit_of(tag: str) -> str:
    """The commit of a tag, short; "" without."""
    process = _call(["git", "rev-parse", "--verify", "--quiet", "--short", f"{tag}^{{commit}}"])
    return process.stdout.strip() if process.returncode == 0 else ""


def commit_round(tag: str, message: str) -> str:
    """Commit the paths of a round, tag it; returns the commit. Idempotent. Raises VersioningError."""
    if not has_tag(tag):
        paths = [path for path in ROUND_PATHS if Path(path).exists()]
        _git("add", "--", *paths)
        if _git("status", "--porcelain", "--untracked-files=no", "--", *paths):
            _git("commit", "--quiet", "--message", message, "--", *paths)
        _git("tag", "--annotate", "--message", message, tag)
    return commit_of(tag)


def add_to_dvc(path: Path) -> None:
    """`dvc add`: the folder is versioned from now on. Raises VersioningError."""
    process = call_dvc("add", "--quiet", str(path))
    if process.returncode != 0:
        raise VersioningError(
            f"dvc add {path}: {_error_summary(process)}. Fix what it names and run the same command again"
        )


def is_up_to_date() -> bool:
    """Whether `dvc repro` would have nothing to do; ablations have a dvc.yaml of their own. Raises VersioningError when
    DVC cannot say."""
    process = call_dvc("status", "--json", "dvc.yaml")
    if process.returncode != 0:
        raise VersioningError(
            f"dvc status: {_error_summary(process)}. Fix what it names and run the same command again"
        )
    return json.loads(process.stdout) == {}


def has_remote() -> bool:
    """Whether DVC has a default remote."""
    return default_remote() is not None


def push_data() -> None:
    """`dvc push`. Raises VersioningError: nothing is lost, and what arrived is not sent again."""
    remote = default_remote()
    problem = remote_problem(remote).text if remote else ""
    process = None if problem else call_dvc("push", "--quiet")
    if process is None or process.returncode != 0:
        said = _error_summary(process) if process else problem
        raise VersioningError(
            f"dvc push: {said}. The round is finished, committed and kept here. Fix what it names, "
            "then `uv run dvc push`, or run the same command again"
        )
