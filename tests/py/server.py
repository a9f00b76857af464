"""A private server for a test class: the real binary on a free port with a temporary folder.

SERVERV2_URL names a running one instead; else SERVERV2_BIN must name the binary.
"""

import atexit
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading

import requests

START_DEADLINE_S = 60


class Server:
    """Runs until `stop`."""

    def __init__(self):
        self.url = os.environ.get("SERVERV2_URL")
        self._process = None
        if self.url:
            return
        binary = os.environ.get("SERVERV2_BIN")
        if not binary:
            raise RuntimeError("set SERVERV2_BIN to the server binary, or SERVERV2_URL to a running server")
        self._folder = tempfile.mkdtemp(prefix="serverv2-py-")
        self._process = subprocess.Popen(
            [binary, "dev", "--port", "0", "--data-dir", self._folder],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        atexit.register(self.stop)
        self._log = []
        found = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(found,), daemon=True)
        self._reader.start()
        try:
            self.url = found.get(timeout=START_DEADLINE_S)
        except queue.Empty:
            self.url = None
        if self.url is None:
            self.stop()
            raise RuntimeError("the server did not start:\n" + "".join(self._log))

    def _read(self, found):
        for line in self._process.stdout:
            self._log.append(line)
            if line.startswith("READY "):
                found.put(json.loads(line[len("READY ") :])["http"])
        found.put(None)

    def stop(self):
        """Ends the server and removes its folder."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)
        self._process.stdout.close()
        self._process = None
        atexit.unregister(self.stop)
        shutil.rmtree(self._folder, ignore_errors=True)
        # A panic is a defect, also where a client notices nothing.
        for line in self._log:
            if "panicked" in line:
                raise AssertionError("the server panicked: " + line)

    def guest(self):
        """Makes a guest through REST and gives its id."""
        answer = requests.post(self.url + "/api/v1/auth/create-guest", timeout=60)
        answer.raise_for_status()
        return answer.json()["data"]["playerId"]
