"""A running ComfyUI: a checkout named by COMFYUI_DIR, started with our pack, talked to over HTTP."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PACK = Path(__file__).parents[1]


class ComfyUI:
    """A host in a folder of its own; use it as a context manager, which also ends it."""

    def __init__(self, folder: Path, *args: str, pack: bool = True) -> None:
        self.folder = folder
        for name in ("custom_nodes", "input", "output", "models", "user", "temp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        link = folder / "custom_nodes" / "styleplugin"
        if pack and not link.exists():
            link.symlink_to(PACK)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        checkout = Path(os.environ["COMFYUI_DIR"])
        self._log = (folder / "log.txt").open("w")
        self._process = subprocess.Popen(
            [
                *(os.environ.get("COMFYUI_PYTHON", sys.executable), str(checkout / "main.py")),
                *("--cpu", "--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(folder)),
                *("--disable-auto-launch", "--disable-api-nodes", "--database-url", "sqlite:///:memory:", *args),
            ],
            cwd=checkout,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> ComfyUI:
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")

    @property
    def version(self) -> str:
        return self.get("/system_stats")["system"]["comfyui_version"]

    @property
    def pack_seconds(self) -> float:
        """What the pack added to the start, as the host prints it."""
        found = re.search(r"([0-9.]+) seconds: \S*custom_nodes/styleplugin", self.log)
        assert found, self.log
        return float(found[1])

    def memory_mb(self, entry: str) -> float:
        """Return VmRSS (now) or VmHWM (the peak) of the host's process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(entry)) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def get(self, route: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{route}", timeout=60) as answer:
            return json.load(answer)

    def post(self, route: str, data: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{route}", json.dumps(data).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read()
        return json.loads(text) if text else None

    def start(self, prompt: dict[str, Any]) -> str:
        """Queue a prompt in the API's form and return its id."""
        answer = self.post("/prompt", {"prompt": prompt})
        assert "prompt_id" in answer, answer
        return answer["prompt_id"]

    def wait(self, prompt_id: str, limit_s: float = 300) -> dict[str, Any]:
        """Return a prompt's history when it has ended."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.02)
        raise TimeoutError(prompt_id)

    def run(self, prompt: dict[str, Any], limit_s: float = 300) -> dict[str, Any]:
        return self.wait(self.start(prompt), limit_s)

    def _wait_until_it_answers(self, limit_s: float = 120) -> None:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(self.log)
            try:
                self.get("/object_info/SaveImage")
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(self.log)


def node(class_type: str, /, **inputs: Any) -> dict[str, Any]:
    """Return one node of a prompt; a link is [id, output]."""
    return {"class_type": class_type, "inputs": inputs}


def prompt_of(workflow: dict[str, Any]) -> dict[str, Any]:
    """Turn a saved workflow into the API's form, as the page does."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for entry in workflow["nodes"]:
        if entry["type"] == "MarkdownNote":
            continue
        values = list(entry.get("widgets_values") or [])
        inputs = {}
        for declared in entry["inputs"]:
            value = values.pop(0) if "widget" in declared else None
            if declared["link"] is not None:
                inputs[declared["name"]] = links[declared["link"]]
            elif value is not None:
                inputs[declared["name"]] = value
            if declared["name"] == "seed":
                values.pop(0)  # what the page does with it after a run
        prompt[str(entry["id"])] = {"class_type": entry["type"], "inputs": inputs}
    return prompt


def error_of(history: dict[str, Any]) -> tuple[str, str]:
    """Return kind and text of what ended a prompt: execution_error, execution_interrupted, or execution_success."""
    kind, data = history["status"]["messages"][-1]
    return kind, data.get("exception_message", "")
