"""A small installation in a folder of its own: settings, rules, a site, and `crosspoint up` as a process."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

RULES = """
version: 1
targets: {desk: {type: department, id: "6"}}
default: {route: desk}
"""
SITE = """
version: 1
tenant: acme
routers:
  - {id: main, name: Main, rules: main, default_target: {type: office, id: "1"}}
queues:
  - {id: support, name: Support}
agents:
  - {id: ada, name: Ada, queues: {support: {}}}
"""


class House:
    """Commands are run in its folder, in processes of their own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "log.txt"
        self.site = folder / "site.yaml"
        (folder / "rules").mkdir(parents=True)
        (folder / "rules/main.yaml").write_text(RULES)
        self.site.write_text(SITE)
        (folder / "crosspoint.yaml").write_text(f"site: site.yaml\nhttp: {{port: {port}}}\n")
        self.env = {name: text for name, text in os.environ.items() if "CROSSPOINT" not in name}
        self.env["PYTHONPATH"] = str(Path(__file__).parents[3])
        self.process: subprocess.Popen[str] | None = None

    def up(self) -> str:
        """Start it; what it prints until it can be tried."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "router", "up"],
                cwd=self.folder,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        timer = threading.Timer(60, self.process.kill)
        timer.start()
        assert self.process.stdout is not None
        banner = ""
        for line in self.process.stdout:
            banner += line
            if "agents list" in line:
                break
        timer.cancel()
        assert "agents list" in banner, banner + self.log.read_text()
        return banner

    def down(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def logged(self, event: str) -> list[dict[str, object]]:
        """Lines of the service's log."""
        lines = (line for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def run(self, *arguments: str, code: int = 0) -> str:
        """What a command says, stderr included; it has to end with that exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "router", *arguments],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        text = done.stdout + done.stderr
        assert "Traceback" not in text
        assert done.returncode == code, text
        return text

    def post(self, path: str, body: dict[str, object]) -> None:
        """Ask the API, as an administrator."""
        token = self.run("token", "--role", "admin").strip()
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 201

    def change(self, pattern: str, to: str, path: str = "site.yaml") -> None:
        """Replace a text in a file."""
        file = self.folder / path
        text, count = re.subn(pattern, to, file.read_text())
        assert count
        file.write_text(text)
