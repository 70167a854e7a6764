"""What the processes of a run find in their environment: quiet settings, and of the person's variables the needed ones.

A server needs none of the person's keys, so it gets none: whoever gets it to tell its environment, or to run
something, finds no OPENAI_API_KEY there. Needed names are listed, not secret ones guessed: a new key is left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ouro.core.state import State

# NAME* stands for all that begin so.
PROCESS = """PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TMPDIR TEMP TMP XDG_* PYTHON* VIRTUAL_ENV CONDA_PREFIX
    LD_LIBRARY_PATH LD_PRELOAD DYLD_* SYSTEMROOT SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy DO_NOT_TRACK""".split()
POSTGRES = ["PG*"]  # libpq's: PGPASSWORD, PGPASSFILE, PGSSLMODE
OBJECT_STORES = """AWS_* GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CLOUD_PROJECT CLOUDSDK_* AZURE_STORAGE_* AZURE_CLIENT_*
    AZURE_TENANT_ID AZURE_AUTHORITY_HOST AZURE_FEDERATED_TOKEN_FILE""".split()  # not AZURE_*: AZURE_OPENAI_API_KEY
PREFECT = [*PROCESS, *POSTGRES, "PREFECT_*"]
PREFECT_CLIENT = "PREFECT_API_URL PREFECT_API_KEY PREFECT_API_AUTH_STRING".split()
MLFLOW = [*PROCESS, *POSTGRES, *OBJECT_STORES, "MLFLOW_*"]
MLFLOW_CLIENT = ["MLFLOW_TRACKING_*"]  # address, user, password and token of another server
ROUND = [
    *PREFECT, *MLFLOW, "OURO_*",
    *"OPENAI_API_KEY HF_* HUGGING_FACE_HUB_TOKEN HUGGINGFACE_HUB_CACHE TRANSFORMERS_* TOKENIZERS_* TQDM_*".split(),
    *"GIT_* EMAIL SSH_AUTH_SOCK SSH_AGENT_PID GNUPGHOME GPG_TTY DVC_* OSS_* HADOOP_* KRB5CCNAME FSSPEC_*".split(),
    *"CUDA_* NVIDIA_* NCCL_* GLOO_* TORCH* PYTORCH_* TRITON_* DS_* DEEPSPEED_* ACCELERATE_* MAX_JOBS CC CXX".split(),
    *"OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* MALLOC_* GLIBC_TUNABLES RAY_* PADDLE_* FLAGS_* JAVA_* MPLCONFIGDIR".split(),
]  # fmt: skip


def prefect_server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What Prefect's server needs: a process's basics, its own settings, its database's credentials."""
    return _without(_only(environment, PREFECT), PREFECT_CLIENT)


def mlflow_server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What MLflow's server needs: the basics, its own settings, credentials of its database and of artifacts."""
    return _without(_only(environment, MLFLOW), MLFLOW_CLIENT)


def round_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the worker and its rounds need: both servers' addresses, the annotator's key, the hub's token, git and DVC
    with their remotes, and what decides how libraries compute.
    """
    return _only(environment, ROUND)


def _only(environment: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if _is_named(name, names)}


def _without(environment: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not _is_named(name, names)}


def _is_named(name: str, names: Sequence[str]) -> bool:
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in names)


def quiet_environment(state: State, *, online: bool = False) -> dict[str, str]:
    """Settings of every process of a run: quiet, with its state in the checkout, offline unless `online`. Set ones
    win."""
    variables = {
        "PREFECT_HOME": str(state.prefect_home.resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",  # to the server; the screen shows what tasks/screen.py lets through
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "ouro,tasks,flows",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # a warning before or after the flow is of no run
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLIENT_MAX_RETRIES": "6",  # 2 + 4 + ... + 64 = 126 s, for a server that is started again
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",
        **({} if online else {"HF_HUB_OFFLINE": "1"}),
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore::FutureWarning",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "MALLOC_MMAP_THRESHOLD_": "1000000000",  # glibc: keep large blocks, a fifth of training is page faults else
        "MALLOC_TRIM_THRESHOLD_": "4000000000",
    }
    return {name: value for name, value in variables.items() if name not in os.environ}
