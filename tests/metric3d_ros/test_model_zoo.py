"""The zoo, and ``metric3d models`` on it: every model described, found, fetched, and refused in one sentence."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
from file_server import FileServer, serving

from metric3d_ros import model_zoo
from metric3d_ros.cache_folder import CACHE_VARIABLE, cache_folder
from metric3d_ros.cli import main
from metric3d_ros.errors import EngineError
from metric3d_ros.model_zoo import ZOO, ModelFile, ZooModel, model_path, zoo_model

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves the file of every model in the zoo, which has another checksum than the real one."""
    with serving(CONTENT) as running:
        folder = running.url.rpartition("/")[0]
        monkeypatch.setattr(model_zoo, "ZOO", tuple(served_from(folder, model) for model in ZOO))
        yield running


def served_from(folder: str, model: ZooModel) -> ZooModel:
    if model.published is None:
        return model
    url = f"{folder}/{model.published.url.rpartition('/')[2]}"
    sha256 = None if model.published.sha256 is None else SHA256
    return dataclasses.replace(model, published=ModelFile(url, model.published.size_mb, sha256))


def test_the_cache_is_where_the_variable_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv(CACHE_VARIABLE, "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert cache_folder() == Path.home() / ".cache" / "metric3d_ros"


@pytest.mark.parametrize("model", ZOO, ids=lambda model: model.name)
def test_every_model_is_described(model: ZooModel) -> None:
    assert model.canonical_focal_px == 1000
    assert model.good_for
    assert "Apache-2.0" in model.licence if model.published is None else "state no terms" in model.licence
    stride = 28 if model.name.startswith("vit") else 32
    assert model.input_height_px % stride == model.input_width_px % stride == 0
    if model.published is not None:
        # A branch's file can change under its checksum; a revision's cannot.
        assert re.fullmatch(r"https://huggingface\.co/[^/]+/[^/]+/resolve/[0-9a-f]{40}/.+", model.published.url)
        assert model.published.size_mb > 100
        assert model.published.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", model.published.sha256)
        assert model.published.url.endswith(".pth" if model.is_checkpoint else ".onnx")


def test_names_and_checksums_are_not_shared() -> None:
    assert len({model.name for model in ZOO}) == len(ZOO)
    checksums = [model.published.sha256 for model in ZOO if model.published and model.published.sha256]
    assert len(set(checksums)) == len(checksums) == 5


def test_the_packaged_model_is_what_the_zoo_says() -> None:
    nano = zoo_model("nano")
    session = onnxruntime.InferenceSession(str(model_path("nano")), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["input_height_px"] == str(nano.input_height_px)
    assert metadata["input_width_px"] == str(nano.input_width_px)
    assert float(metadata["canonical_focal_px"]) == nano.canonical_focal_px


def test_a_file_is_its_own_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.touch()
    assert model_path(str(file)) == file


def test_an_unknown_name_lists_the_known() -> None:
    for ask in (model_path, zoo_model):
        with pytest.raises(EngineError, match=r"'vit_huge'.*nano, convnext_tiny, .*vit_large_community"):
            ask("vit_huge")


def test_a_model_that_is_not_here_says_every_step_to_it(cache: Path) -> None:
    checkpoint = cache / "models" / "metric_depth_vit_small_800k.pth"
    export = (
        f"python -m training.export vit_small --checkpoint {checkpoint} --size 616x1064 "
        f"--out {cache / 'models' / 'vit_small.onnx'}"
    )
    with pytest.raises(EngineError, match=rf"run metric3d models fetch vit_small and then {re.escape(export)}\.$"):
        model_path("vit_small")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(EngineError, match=rf"run {re.escape(export)}\.$"):
        model_path("vit_small")
    with pytest.raises(EngineError, match=r"run metric3d models fetch vit_small_community\.$"):
        model_path("vit_small_community")
    exported = cache / "models" / "vit_small.onnx"
    exported.touch()
    assert model_path("vit_small") == exported


def test_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert {model.name for model in ZOO} <= rows.keys()
    assert re.search(r"352x1056 +- +ready +streets", rows["nano"])
    assert re.search(r"616x1064 +150 MB +not fetched +", rows["vit_small"])


def test_list_one(capsys: pytest.CaptureFixture[str]) -> None:
    model = zoo_model("vit_giant2")
    assert model.published is not None
    assert main(["models", "list", "vit_giant2"]) == 0
    out = capsys.readouterr().out
    for fact in (model.published.url, model.published.sha256, model.licence, "1000 px", "5510 MB"):
        assert str(fact) in out


def test_fetch_a_checkpoint(server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "convnext_tiny"]) == 0
    path = cache / "models" / "convtiny_hourglass_v1.pth"
    assert path.read_bytes() == CONTENT
    out = capsys.readouterr().out
    assert "state no terms for the weights" in out
    assert f"{path}: sha256 {SHA256}" in out
    assert f"training.export convnext_tiny --checkpoint {path} --size 544x1216 --out" in out


def test_fetch_a_network(server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "vit_small_community"]) == 0
    assert model_path("vit_small_community") == cache / "models" / "vit_small_community.onnx"
    assert "to use it: --model vit_small_community\n" in capsys.readouterr().out


def test_fetch_elsewhere(server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "vit_small_community", "--out", str(tmp_path / "here")]) == 0
    path = tmp_path / "here" / "vit_small_community.onnx"
    assert path.read_bytes() == CONTENT
    assert main(["models", "fetch", "vit_large", "--out", str(tmp_path / "here")]) == 0
    out = capsys.readouterr().out
    assert f"to use it: --model {path}\n" in out
    assert f"--checkpoint {tmp_path / 'here' / 'metric_depth_vit_large_800k.pth'} --size" in out


def test_fetch_what_is_packaged(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert main(["models", "fetch", "nano"]) == 0
    assert f"{model_path('nano')}: sha256" in capsys.readouterr().out
    assert not cache.exists()


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr says, checked to be one line that is the command's own."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("metric3d: ")
    return lines[0]


def test_fetch_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "vit_huge"]) == 2
    assert "there is no model 'vit_huge'; choose one of nano" in one_sentence(capsys)


def test_fetch_offline(server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.status = 503
    assert main(["models", "fetch", "vit_small"]) == 2
    target = cache / "models" / "metric_depth_vit_small_800k.pth"
    assert f"on a machine that is online and put it at {target} (sha256 {SHA256})" in one_sentence(capsys)
    assert list(target.parent.iterdir()) == []


def test_fetch_another_file_than_published(
    server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = b"a page that asks to sign in"
    assert main(["models", "fetch", "vit_small"]) == 2
    assert f"not {SHA256} as vit_small has" in one_sentence(capsys)
    assert list((cache / "models").iterdir()) == []


def test_fetch_into_a_read_only_cache(
    server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["models", "fetch", "vit_small"]) == 2
    assert f"cannot be written to {cache / 'models'}: Read-only file system" in one_sentence(capsys)
