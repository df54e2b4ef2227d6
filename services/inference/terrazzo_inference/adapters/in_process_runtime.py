"""ModelRuntime in this process: TorchScript models of a Triton-layout model repository.

    REPOSITORY/MODEL/config.pbtxt                  Triton's; not needed here
    REPOSITORY/MODEL/VERSION/model.pt              TorchScript: image -> (logits, embedding)
    REPOSITORY/MODEL/VERSION/terrazzo.json         see domain/model.py

torch is imported when the first model is loaded, not before: an idle service stays small.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrazzo_inference.domain.errors import BadModel, BadOutput, ModelMissing, NotLoaded
from terrazzo_inference.domain.model import ModelDescription, parse_description, require_model_name

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Loaded:
    description: ModelDescription
    device: torch.device
    run: Callable[[torch.Tensor], Any]


class InProcessRuntime:
    """Thread-safe. `threads` is torch's number of CPU threads; 0 leaves it at all cores.

    Swapping is replacing an entry of a dictionary: a request that has begun holds its model itself, so
    `unload` takes nothing away from it, and the memory goes back when the last one ends.
    """

    def __init__(self, repository: Path, *, threads: int = 0) -> None:
        self._repository = repository
        self._threads = threads
        self._models: dict[tuple[str, int], _Loaded] = {}
        self._loading = threading.Lock()

    def load(self, model_name: str, version: int) -> ModelDescription:
        require_model_name(model_name, version)
        with self._loading:
            present = self._models.get((model_name, version))
            if present is None:
                present = self._models[model_name, version] = self._read(model_name, version)
            return present.description

    def unload(self, model_name: str, version: int) -> None:
        with self._loading:
            self._models.pop((model_name, version), None)

    def metadata(self, model_name: str, version: int) -> ModelDescription:
        return self._loaded(model_name, version).description

    def loaded(self) -> list[tuple[str, int]]:
        return sorted(self._models)

    def infer(self, model_name: str, version: int, images_NCHW: Floats) -> tuple[Floats, Floats]:
        model = self._loaded(model_name, version)
        self._limit_threads()
        return _run(model, images_NCHW, f"model {model_name} version {version}")

    def _limit_threads(self) -> None:
        """torch keeps the number for each calling thread, so it is set in the one that computes."""
        import torch

        if self._threads and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _loaded(self, model_name: str, version: int) -> _Loaded:
        model = self._models.get((model_name, version))
        if model is None:
            raise NotLoaded(
                f"model {model_name} version {version} is not loaded",
                field="model_name",
                value=f"{model_name}/{version}",
                remedy="load it first",
            )
        return model

    def _read(self, model_name: str, version: int) -> _Loaded:
        folder = self._repository / model_name / str(version)
        if not folder.is_dir():
            raise ModelMissing(
                f"the model repository has no version {version} of {model_name}",
                field="version",
                value=version,
                remedy=f"put model.pt and terrazzo.json into {model_name}/{version} of the repository",
            )
        description = _read_description(folder / "terrazzo.json", f"{model_name}/{version}/terrazzo.json")
        model = self._read_script(folder / "model.pt", f"{model_name}/{version}/model.pt", description)
        _probe(model, f"{model_name}/{version}/model.pt")
        return model

    def _read_script(self, path: Path, where: str, description: ModelDescription) -> _Loaded:
        if not path.is_file():
            raise BadModel(f"{where} is missing", field=where, remedy="export the model again")
        import torch

        self._limit_threads()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            script = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
            script = torch.jit.freeze(script.eval())
        except (RuntimeError, ValueError, OSError) as error:
            raise BadModel(
                f"{where} is no TorchScript model: {_first_line(error)}", field=where, remedy="export it again"
            ) from error
        return _Loaded(description, device, script)


def _read_description(path: Path, where: str) -> ModelDescription:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BadModel(f"{where} is missing", field=where, remedy="export the model again") from error
    except OSError as error:
        raise BadModel(f"{where} can't be read: {error.strerror}", field=where) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadModel(f"{where} is not JSON: {error}", field=where, remedy="export the model again") from error
    return parse_description(document, where)


def _probe(model: _Loaded, where: str) -> None:
    """Ask for something small, so that a model of the wrong make is refused before it is swapped in."""
    description = model.description
    side = min(description.tile_px, 4 * description.stride_px)
    images_NCHW = np.full((2, 3, side, side), 127.0, dtype=np.float32)
    try:
        logits_NKHW, _ = _run(model, images_NCHW, where)
    except BadOutput as error:
        raise BadModel(error.detail, field=where, remedy="export the model again") from error
    if logits_NKHW.shape[1] != len(description.class_ids):
        raise BadModel(
            f"{where} has {logits_NKHW.shape[1]} channels, its terrazzo.json lists "
            f"{len(description.class_ids)} classes",
            field="classes",
            value=list(description.class_ids),
            remedy="list one class id for each channel",
        )


def _run(model: _Loaded, images_NCHW: Floats, where: str) -> tuple[Floats, Floats]:
    import torch

    try:
        with torch.inference_mode():
            answer = model.run(torch.from_numpy(np.ascontiguousarray(images_NCHW)).to(model.device))
    except RuntimeError as error:
        raise BadOutput(f"{where} failed on an input of {images_NCHW.shape}: {_last_line(error)}") from error
    if not (
        isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(part, torch.Tensor) for part in answer)
    ):
        raise BadOutput(f"{where} answers with {type(answer).__name__}, not with the pair (logits, embedding)")
    logits_NKHW, embedding_ND = (part.float().cpu().numpy() for part in answer)
    num_images, _, height, width = images_NCHW.shape
    if logits_NKHW.ndim != 4 or (logits_NKHW.shape[0], *logits_NKHW.shape[2:]) != (num_images, height, width):
        raise BadOutput(f"{where}: logits are {logits_NKHW.shape} for an input of {images_NCHW.shape}")
    if embedding_ND.shape != (num_images, model.description.embedding_dim):
        raise BadOutput(
            f"{where}: the embedding is {embedding_ND.shape}, not {(num_images, model.description.embedding_dim)}"
        )
    return logits_NKHW, embedding_ND


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
