"""Push: a trained network as one folder that other programs know, on this machine or on the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data.errors import BundleError, ConfigError, HubError
from model.run import Run, checkpoint_sha256
from model.runtime.bundle import BUNDLE_FILES, CARD_FILE, MANIFEST_FILE, read_bundle
from model.runtime.whole import writing_folder

if TYPE_CHECKING:
    from model.runtime.bundle import Bundle

HUB: Final = "hf://"
"""Before the name of a repository on the hub; without it a target is a folder, so that no slip uploads anything."""

WEIGHT_FILES: Final = ("config.json", "model.safetensors")
LABELS_FILE: Final = "labelmap.txt"

_REPOSITORY: Final = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def push(source: Path, target: str, *, private: bool = False) -> str:
    """Write a network whole or not at all: weights for torch, the bundle, the model card, the labels.

    The folder is a bundle too, and ``FCN.from_pretrained`` reads it. A bundle that lies in no run has no weights for
    torch; it is pushed without them.

    Args:
        source: A run that was exported, or a bundle.
        target: A folder, or ``hf://OWNER/NAME`` for a repository on the hub, which is made where there is none.
        private: Make a new repository private; else it is as its owner's settings have it.

    Returns:
        Where it is now: the folder, or the address of the commit on the hub.

    Raises:
        BundleError: the run was not exported, the bundle is damaged, or has no model card.
        RunError: the checkpoint cannot be read.
        ConfigError: the checkpoint is not the one that was exported, or the folder holds other things.
        HubError: the name is none, there is no token, or the hub cannot be reached or refuses.
    """
    run, bundle = _opened(source)
    if not target.startswith(HUB):
        folder = Path(target).expanduser().resolve()
        _refuse_foreign(folder)
        try:
            with writing_folder(folder) as fresh:
                _fill(fresh, run, bundle)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written ({error}): free space or name another folder") from None
        return str(folder)
    repository = target.removeprefix(HUB)
    if _REPOSITORY.fullmatch(repository) is None:
        raise HubError(f"{target} is no repository of the hub: hf://OWNER/NAME is expected, as hf://ada/streets")
    token = _token()
    with tempfile.TemporaryDirectory() as place:
        _fill(Path(place), run, bundle)
        return _upload(Path(place), repository, token, private=private, message=f"Push {bundle.manifest.name}")


def _opened(source: Path) -> tuple[Run | None, Bundle]:
    """The run, if there is one, and its bundle."""
    if (source / MANIFEST_FILE).is_file():
        root, run = source, Run(source.resolve().parent)
        found = run if run.config_file.is_file() and run.labels_file.is_file() else None
    else:
        found, root = Run.open(source), source / "bundle"
        if not (root / MANIFEST_FILE).is_file():
            raise BundleError(
                f"{source} has no bundle yet, and it is pushed with its model card: 'fcn export' it first"
            )
    bundle = read_bundle(root)
    if not bundle.card:
        raise BundleError(f"{root} has no model card, as of an earlier version: 'fcn export' the run again")
    if found is not None:
        exported = bundle.manifest.provenance.get("checkpoint_sha256")
        if checkpoint_sha256(found.checkpoint(_which(bundle))) != exported:
            raise ConfigError(
                f"the {_which(bundle)} checkpoint of {found.root} is not the one that {root} was exported from: "
                "'fcn export' the run again, or push the bundle from a place of its own"
            )
    return found, bundle


def _which(bundle: Bundle) -> str:
    return str(bundle.manifest.provenance.get("checkpoint", "best"))


def _fill(folder: Path, run: Run | None, bundle: Bundle) -> None:
    for name in BUNDLE_FILES:
        shutil.copyfile(bundle.root / name, folder / name)
    bundle.manifest.labels.write_cvat(folder / LABELS_FILE)
    if run is not None:
        # The card lies there by now: smp's own would be written otherwise.
        run.network(_which(bundle)).save_pretrained(folder)
    read_bundle(folder)  # the copy


def _refuse_foreign(folder: Path) -> None:
    """What is replaced is deleted: nothing but an earlier push may be there."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file: name a new or an empty folder")
    own = {*BUNDLE_FILES, *WEIGHT_FILES, LABELS_FILE}
    held = {entry.name for entry in folder.iterdir()}
    foreign = sorted(held - own)
    if foreign or (held and not {MANIFEST_FILE, CARD_FILE, LABELS_FILE} <= held):
        shown = ", ".join((foreign or sorted(held))[:3])
        raise ConfigError(f"{folder} holds other things than a pushed network ({shown}): name a new or an empty folder")


def _token() -> str:
    from huggingface_hub import get_token  # noqa: PLC0415  a second, and a folder needs none of it

    token = get_token()
    if token is None:
        raise HubError(
            "there is no token for the hub: make one that may write (settings, access tokens) and give it by "
            "'hf auth login' or in the variable HF_TOKEN"
        )
    return token


def _upload(folder: Path, repository: str, token: str, *, private: bool, message: str) -> str:
    from huggingface_hub import HfApi, errors  # noqa: PLC0415
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    disable_progress_bars()
    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)  # else as its owner has it
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message).commit_url)
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        reason = "it does not know the token" if status == 401 else f"it says {_line(error)}"
        raise HubError(
            f"the hub at {api.endpoint} refuses {repository} (status {status}: {reason}): is the token one that "
            "may write there, and is the name right?"
        ) from None
    except ValueError as error:  # what its own checks refuse before anything is sent
        raise HubError(f"the hub's client refuses {repository}: {_line(error)}") from None
    except Exception as error:  # the errors of its HTTP library, which is another one from release to release
        raise HubError(
            f"the hub at {api.endpoint} cannot be reached ({type(error).__name__}: {_line(error)}): try again with a "
            "connection, or push to a folder and upload that"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
