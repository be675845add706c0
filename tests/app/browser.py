"""A headless Chromium, steered over its debugging pipe."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    *("--remote-debugging-pipe", "--window-size=1100,800"),
]


def chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page; what it logs as an error is in `errors`."""

    def __init__(self, folder, url):
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def descriptors():  # Chromium reads at 3 and writes at 4
            one, two = os.dup(to_read), os.dup(to_write)
            os.dup2(one, 3)
            os.dup2(two, 4)

        self.process = subprocess.Popen(
            [chromium(), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=descriptors,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.errors, self._answers, self._number = [], {}, 0
        threading.Thread(target=self._listen, daemon=True).start()
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    _session = None

    def call(self, method, **params):
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = self.wait(lambda: self._answers.pop(number, None))
        assert "error" not in answer, answer
        return answer["result"]

    def run(self, script):
        """The value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script, seconds=30):
        """Wait for an expression to be true."""
        return self.wait(lambda: self.run(script), seconds)

    def upload(self, selector, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        for end in (self._read, self._write):
            with contextlib.suppress(OSError):
                os.close(end)

    @staticmethod
    def wait(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, "the page does not get there"
            time.sleep(0.02)
        return value

    def _listen(self):
        data = b""
        with contextlib.suppress(OSError):
            while part := os.read(self._read, 1 << 16):
                *messages, data = (data + part).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    self._note(message)

    def _note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(str(params["args"]))
