"""library.json: recipe, the versions of every stratum with their hashes, and what is known of the labelled crystals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from potentials.recipe import recipe_from_json
from potentials.storage.shipped import names
from potentials.stratum import Stratum
from potentials.stratum_file import FORMAT, LibraryError, write_atomically

NAME = "library.json"


def read_index(directory: Path) -> dict[str, Any]:
    """The index of the library in this directory; LibraryError in one line when there is none that can be read."""
    path = directory / NAME
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise LibraryError(
                f"{path} has format {content['format']}, this version reads {FORMAT}; update the package"
            )
        _check(content)
        return content
    except FileNotFoundError:
        if not directory.is_dir():
            shipped = " or ".join(["the directory of one", *names()])
            raise LibraryError(f"{directory} is not there and holds no library; give {shipped}") from None
        raise LibraryError(f"{path} is not there; {directory} holds no library") from None
    except NotADirectoryError:
        raise LibraryError(f"{directory} is no directory and holds no library; give the directory of one") from None
    except PermissionError:
        raise LibraryError(f"{path} may not be read; ask its owner") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, LibraryError):
            raise
        raise LibraryError(f"{path} is damaged ({type(error).__name__}); restore it from a copy") from None


def write_index(directory: Path, index: dict[str, Any]) -> None:
    """All of it or nothing."""
    text = json.dumps(index, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(directory / NAME, text.encode())


def _check(content: dict[str, Any]) -> None:
    """KeyError, TypeError or ValueError where the index is not one."""
    recipe_from_json(content["recipe"])
    for name, entry in content["strata"].items():
        Stratum.parse(name)
        if str(entry["current"]) not in entry["versions"]:
            raise ValueError(name)
        for version in entry["versions"].values():
            for key in ("content", "file", "parents", "n_parameters", "metadata"):
                version[key]
            for mapping in (version["parents"], version["metadata"], version["metadata"].get("errors", {})):
                mapping.items()
    if "data" not in content:
        return
    data = content["data"]
    data["method"]
    for known in (*data["methods"].values(), *data["files"].values()):
        known.items()
    for name, entry in data["strata"].items():
        Stratum.parse(name)
        for key in ("bytes", "sha256", "crystals"):
            entry[key]
