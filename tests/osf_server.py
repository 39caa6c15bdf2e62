"""A server on the loopback address that speaks OSF's API, and mirrors public repositories."""

import contextlib
import hashlib
import http.server
import json
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PER_PAGE = 2


class Server:
    """Files of one OSF project, and folders as GitHub serves them.

    Faults are what a download of a file meets, by the file's name, one after another:
    ``("status", 503, {"Retry-After": "1"})``, ``("cut", n_bytes)``, or an event that is waited
    for. What was asked for stands in ``asked``, as (path, value of the Range header).
    """

    def __init__(self, project="by2tc"):
        self.project = project
        self.files: dict[str, bytes] = {}
        self.hashes: dict[str, str] = {}
        self.mirrors: dict[str, Path] = {}
        self.faults: dict[str, list] = {}
        self.answers: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.gives_ranges = True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Range")))
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        """Stop; nobody answers from now on."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def add(self, path, content, sha256=None):
        """Put a file into the project."""
        self.files[path] = content
        self.hashes[path] = hashlib.sha256(content).hexdigest() if sha256 is None else sha256

    def downloads(self, name):
        """Value of the Range header of every download of a file."""
        return [part for path, part in self.asked if path.endswith(f"/{name}")]

    # How it answers

    def answer(self, handler):
        """Answer a request, or fail as was ordered."""
        parts = urlsplit(handler.path)
        path = unquote(parts.path)
        root = f"/v2/nodes/{self.project}/files/osfstorage/"
        if path in self.answers:
            send(handler, self.answers[path])
        elif path.startswith(root):
            page = int(parse_qs(parts.query).get("page", ["1"])[0])
            send(handler, json.dumps(self.listing(path.removeprefix(root), root, page)).encode())
        else:
            self.send_file(handler, path)

    def listing(self, folder, root, page):
        """One page of what a folder holds, as OSF gives it."""
        names = {}
        for path in self.files:
            if path.startswith(folder):
                name, below, _ = path.removeprefix(folder).partition("/")
                names[name] = bool(below)
        first = (page - 1) * PER_PAGE
        entries = [
            self.folder_entry(name, f"{self.url}{root}{folder}{name}/")
            if is_folder
            else self.file_entry(name, folder + name)
            for name, is_folder in list(names.items())[first : first + PER_PAGE]
        ]
        more = first + PER_PAGE < len(names)
        following = f"{self.url}{root}{folder}?page={page + 1}" if more else None
        return {"data": entries, "links": {"next": following, "meta": {"total": len(names)}}}

    def folder_entry(self, name, href):
        """Entry of a folder."""
        return {
            "type": "files",
            "attributes": {"name": name, "kind": "folder", "size": None, "extra": {"hashes": {}}},
            "relationships": {"files": {"links": {"related": {"href": href, "meta": {}}}}},
            "links": {"new_folder": href},
        }

    def file_entry(self, name, path):
        """Entry of a file."""
        return {
            "type": "files",
            "attributes": {
                "name": name,
                "kind": "file",
                "size": len(self.files[path]),
                "extra": {"hashes": {"md5": "", "sha256": self.hashes[path]}},
            },
            "relationships": {},
            "links": {"download": f"{self.url}/download/{path}"},
        }

    def send_file(self, handler, path):
        """Send a file, or what is missing of it."""
        content = self.files.get(path.removeprefix("/download/"))
        for prefix, folder in self.mirrors.items():
            fname = folder / path.removeprefix(f"/{prefix}/")
            if path.startswith(f"/{prefix}/") and fname.is_file():
                content = fname.read_bytes()
        if content is None:
            return send(handler, b"there is no such file", 404)
        faults = self.faults.get(path.rpartition("/")[2], [])
        fault = faults.pop(0) if faults else None
        if isinstance(fault, threading.Event):
            fault.wait(60)
        elif fault is not None and fault[0] == "status":
            return send(handler, b"", fault[1], fault[2])
        start, status, headers = 0, 200, {}
        asked = handler.headers.get("Range")
        if asked and self.gives_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return send(handler, b"", 416, {"Content-Range": f"bytes */{len(content)}"})
            status = 206
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        cut = fault[1] if isinstance(fault, tuple) else None
        return send(handler, content[start:], status, headers, cut)


def send(handler, content, status=200, headers=None, cut=None):
    """Send an answer, all of it or some bytes."""
    handler.close_connection = True
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):  # whoever asked may have gone
        handler.wfile.write(content[:cut])


def wait_for(condition, seconds=60):
    """Wait until something is so, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "that never came"
        time.sleep(0.01)
