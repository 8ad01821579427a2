#!/usr/bin/env python3
"""Refined search over HTTP with Python's standard library.

    halo serve --data /tmp/halo-data        # first
    examples/service/client.py [http://127.0.0.1:8080]
"""
import http.client
import json
import random
import sys
import time
import urllib.parse


class Service:
    """One connection, kept open."""

    def __init__(self, url, token=None):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, path, body=None):
        self.connection.request(method, path, json.dumps(body) if body is not None else None,
                                self.headers)
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status >= 400:
            raise RuntimeError(f"{response.status} {answer['error']['code']}: "
                               f"{answer['error']['message']}")
        return answer

    def finish(self, collection, accepted):
        """Waits for a job that a call began."""
        while True:
            job = self.call("GET", f"/collections/{collection}/jobs/{accepted['job']}")
            if job["state"] == "failed":
                raise RuntimeError(job["error"])
            if job["state"] == "done":
                return job["result"]
            time.sleep(0.1)


def main():
    service = Service(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
    draw = random.Random(7)
    centres = [[draw.gauss(0, 1) for _ in range(16)] for _ in range(10)]

    def near(centre):
        return [value + draw.gauss(0, 0.8) for value in centres[centre]]

    service.call("PUT", "/collections/example", {"dim": 16, "metric": "cosine"})
    try:
        for first in range(0, 1000, 200):
            service.call("POST", "/collections/example/items", {"items": [
                {"id": i, "vector": near(i % 10), "metadata": {"group": i % 10}}
                for i in range(first, first + 200)]})
        # Refinement is prepared once; sample queries tell how much of it suits queries like them.
        samples = [near(i % 10) for i in range(60)]
        print("prepared:", service.finish("example", service.call(
            "POST", "/collections/example/refine", {"sample_queries": samples})))
        for mode in ("off", "auto"):
            right = total = 0
            for group in range(10):
                found = service.call("POST", "/collections/example/search", {
                    "vector": near(group), "k": 10, "refine": mode, "with_metadata": True})
                right += sum(item["metadata"]["group"] == group for item in found["results"])
                total += len(found["results"])
            print(f"refine {mode}: {right} of {total} results are of the query's group")
    finally:
        service.call("DELETE", "/collections/example")


if __name__ == "__main__":
    main()
