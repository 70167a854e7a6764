"""Every path below `.ouro`: what a checkout, or a folder that is annotated, keeps beside its data and models."""

from __future__ import annotations

from pathlib import Path

FOLDER = ".ouro"


class State:
    """The folder `.ouro` of a checkout or of an annotated folder. Nothing is made by asking for a path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

        self.cache = folder / "cache"  # finished shards, under the key of all that decides them
        self.checkpoints = folder / "checkpoints"
        self.answers = folder / "answers"  # to held-out questions
        self.replies = folder / "replies"  # to named benchmarks, in a round
        self.benchmark = folder / "benchmark"  # replies of `ouro benchmark`
        self.served = folder / "served"  # who answered last at a server's address
        self.ocr = folder / "ocr"  # PaddleOCR's models, laid out
        self.annotations = folder / "annotations"  # of ablations' arms
        self.ablations = folder / "ablations"  # work in progress
        self.pretrain = folder / "pretrain"  # checkpoints of nano's own training

        self.times = folder / "times"  # seconds of work, by stage
        self.last_round = folder / "last-round.json"  # where its time went
        self.inbox = folder / "inbox"  # what the inbox held when it was last read in
        self.unpushed = folder / "unpushed"  # there is a round that the remote has not got
        self.ingest = folder / "ingest.json"  # of what collection, and how, the images were made that lie there
        self.annotate = folder / "annotate.json"  # what an annotated folder was made of

        self.prefect_home = folder / "prefect"
        self.prefect_server = folder / "prefect-server.json"  # address and pid of the one that runs
        self.prefect_auth = folder / "prefect-server.auth"  # who may use it
        self.prefect_log = folder / "prefect-server.log"
        self.mlflow_log = folder / "mlflow-server.log"
        self.worker_log = folder / "worker.log"

        self.bootstrap_lock = folder / "bootstrap.lock"  # one `ouro bootstrap` or `ouro ablate` at a time
        self.stage_lock = folder / "stage.lock"  # one stage at a time, also of a run that was killed
        self.up_lock = folder / "up.lock"  # one `ouro up`, with all that it started
        self.server_start_lock = folder / "prefect-server.start.lock"  # one process starts a server
        self.server_users_lock = folder / "prefect-server.users.lock"  # shared by all that use it
        self.annotate_lock = folder / "annotate.lock"  # shared by those that annotate one folder
        self.summary_lock = folder / "end.lock"  # one of them writes the summary

    def round_run(self, tag: str) -> Path:
        """Keeps the id of a round's MLflow run until that has been told everything."""
        return self.folder / f"{tag}.mlflow"


CHECKOUT = State(Path(FOLDER))


def state_of(folder: Path) -> State:
    """Of a folder that `ouro annotate` fills."""
    return State(folder / FOLDER)
