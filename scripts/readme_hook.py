"""Makes the links of README.md absolute in the package, since the package index shows it far from the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK_OR_CODE = re.compile(
    r"^```.*?^```$|`[^`\n]*`|(?P<label>(?P<image>!?)\[[^\]]*\])\((?P<target>[^)\s]+)\)", re.DOTALL | re.MULTILINE
)


def absolute(markdown: str, repository: str) -> str:
    """Let the relative links of a text lead into a repository: to its pages, those of pictures to the files themselves.

    Args:
        markdown: A text at the top of the repository.
        repository: The address of the repository's page, as GitHub and GitLab have them.
    """
    base = repository.rstrip("/").removesuffix(".git")

    def replaced(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or target.startswith(("#", "//")) or urlsplit(target).scheme:
            return match[0]
        return f"{match['label']}({base}/{'raw' if match['image'] else 'blob'}/HEAD/{target})"

    return _LINK_OR_CODE.sub(replaced, markdown)


class ReadmeHook(MetadataHookInterface):
    """Gives the package its description: README.md, as it is until `[project.urls]` has a Repository."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `readme`."""
        text = Path(self.root, "README.md").read_text("utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        text = absolute(text, repository) if repository else text
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
