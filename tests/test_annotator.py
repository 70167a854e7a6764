"""The annotator's fingerprint: what its replies depend on, the same in one process and in several."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ouro.annotate.describe import describe_shard
from ouro.params import Describe, Model
from ouro.records import Region
from ouro.vision.hf import HFVisionLM, ModelError, folder_fingerprint, load_model
from ouro.vision.pool import PooledVLM
from ouro.vision.protocols import Request, VisionLM
from ouro.vision.scripted import ScriptedVLM
from tasks import annotator as annotators
from tasks.annotator import annotator, fingerprint
from tasks.models import model_fingerprint

BASE = Path(__file__).parent.parent / "models" / "nano"


def _model(processes: int = 1, dtype: str = "float32") -> Model:
    return Model.model_validate({"base": str(BASE), "dtype": dtype, "processes": processes})


def _annotator_of(vlm: VisionLM) -> str:
    """What a record says of who described it."""
    from PIL import Image as PILImage

    region = Region("i/0", "i", None, 0, (0.0, 0.0, 8.0, 8.0), 1.0, "image")
    scripted = ScriptedVLM(lambda r: "a star", vlm.fingerprint)
    [said], _ = describe_shard([region], {"i": PILImage.new("RGB", (8, 8))}, scripted, Describe())
    return said.annotator


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny adapter that changes the output."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(load_model(BASE)[0], config).save_pretrained(folder)
    return folder


def test_one_process_and_several_carry_the_fingerprint_that_the_cache_is_asked_for(adapter: Path) -> None:
    """The number of processes once decided which of two fingerprints was written into every description."""
    annotators._load.cache_clear()
    for worn in (None, adapter):
        one, several = (annotator(_model(n), 4, worn) for n in (1, 2))  # the second starts its processes when asked
        assert type(one) is not type(several)
        assert one.fingerprint == several.fingerprint == fingerprint(_model(), worn)
    annotators._load.cache_clear()


def test_a_record_names_base_dtype_and_adapter(adapter: Path) -> None:
    """Of "<base>...+<adapter>" a record once kept the base alone."""
    made = [HFVisionLM(BASE), HFVisionLM(BASE, adapter), HFVisionLM(BASE, dtype="bfloat16")]
    assert len({_annotator_of(vlm) for vlm in made}) == 3
    assert [vlm.fingerprint for vlm in made] == [
        fingerprint(_model()), fingerprint(_model(), adapter), fingerprint(_model(dtype="bfloat16")),
    ]  # fmt: skip


def test_every_file_of_the_model_counts_but_its_readme(tmp_path: Path) -> None:
    """merges.txt, of a byte-level tokenizer, once did not."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "merges.txt", "README.md"):
        (folder / name).write_text(name)
    before = folder_fingerprint(folder)
    assert model_fingerprint(folder) == before == folder_fingerprint(shutil.copytree(folder, tmp_path / "elsewhere"))
    (folder / "README.md").write_text("other")
    assert folder_fingerprint(folder) == model_fingerprint(folder) == before
    (folder / "merges.txt").write_text("other")
    assert folder_fingerprint(folder) == model_fingerprint(folder) != before


def test_an_error_in_a_worker_process_arrives_as_itself_and_the_pool_lives_on(tmp_path: Path) -> None:
    pool = PooledVLM(tmp_path, None, "float32", 4, 1, "f")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"no config\.json"):
            pool.generate([Request((), "hello")], max_new_tokens=1)
