"""A loopback server with the part of W&B's protocol that a run, a sync and a report need."""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    allow_reuse_address = daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that goes away is what some tests are about


class Stub:
    """Stores everything that it gets: runs by id, artifacts by id, views (reports) by id, uploaded files by path."""

    def __init__(self):
        self.runs, self.artifacts, self.views, self.uploads = {}, {}, {}, {}
        self.used, self.unknown, self.bodies = [], [], []
        self.port, self.alive = 0, False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if not stub.alive:
                    self.close_connection = True
                    return
                out = stub.respond(self.path, body)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_PUT = answer

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port, self.alive = self.server.server_address[1], True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def kill(self):
        self.alive = False
        self.server.shutdown()
        self.server.server_close()

    def respond(self, path, body):
        self.bodies.append(body)
        if path == "/graphql":
            query = json.loads(body)
            name = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])[1]
            answer = getattr(self, name, None)
            if answer is None:
                self.unknown.append((name, query))
                return json.dumps({"errors": [{"message": f"the stub does not know {name}"}], "data": None}).encode()
            return json.dumps({"data": answer(query.get("variables") or {})}).encode()
        if path.endswith("/file_stream"):
            self.stream(path.split("/")[-2], json.loads(body))
        if path.startswith("/upload/"):
            self.uploads[path.removeprefix("/upload/")] = body
        if path.startswith("/download/"):
            return self.uploads[path.removeprefix("/download/")]
        return b"{}"

    def stream(self, run, post):
        for name, chunk in post.get("files", {}).items():
            lines = self.runs[run]["lines"].setdefault(name, {})
            lines.update({chunk["offset"] + i: line for i, line in enumerate(chunk["content"])})
        if post.get("complete"):
            self.runs[run]["exit"] = post["exitcode"]

    def history(self, run):
        """The rows of a run in the order of their lines."""
        lines = self.runs[run]["lines"].get("wandb-history.jsonl", {})
        return [json.loads(lines[i]) for i in sorted(lines)]

    def summary(self, run):
        return json.loads(self.runs[run]["lines"].get("wandb-summary.json", {}).get(0, "{}"))

    def config(self, run):
        return {key: item["value"] for key, item in self.runs[run]["config"].items() if key != "_wandb"}

    # GraphQL operations, by their names

    def Viewer(self, v):
        viewer = {"id": "u", "entity": "someone", "username": "someone", "name": "Some One", "email": "s@example.org"}
        return {"viewer": {**viewer, "flags": "{}", "teams": {"edges": []}, "admin": False, "apiKeys": {"edges": []}}}

    GetViewer = GetDefaultEntity = Viewer

    def ServerFeaturesQuery(self, v):
        return {"serverInfo": {"features": []}}

    def OrganizationCoreWeaveOrganizationID(self, v):
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def RunResumeStatus(self, v):
        run = self.runs.get(v["name"])
        if run is None:
            return {"model": None}
        history, events = self.history(v["name"]), run["lines"].get("wandb-events.jsonl", {})
        bucket = {
            "id": v["name"],
            "name": v["name"],
            "summaryMetrics": json.dumps(self.summary(v["name"])),
            "displayName": run["displayName"],
            "logLineCount": 0,
            "historyLineCount": len(history),
            "eventsLineCount": len(events),
            "historyTail": json.dumps([json.dumps(row) for row in history[-1:]]),
            "eventsTail": json.dumps([events[max(events)]] if events else []),
            "config": json.dumps(run["config"]),
            "tags": run.get("tags") or [],
            "notes": "",
            "wandbConfig": json.dumps({"t": {}}),
        }
        entity = {"id": "e", "name": "someone"}
        return {"model": {"id": "p", "name": v["project"], "entity": entity, "bucket": bucket}}

    def UpsertBucket(self, v):
        inserted = v["name"] not in self.runs
        run = self.runs.setdefault(v["name"], {"lines": {}, "config": {}, "displayName": v["name"]})
        run.update({k: v[k] for k in ("displayName", "groupName", "jobType", "tags", "project") if v.get(k)})
        run["config"].update(json.loads(v.get("config") or "{}"))
        bucket = {
            "id": v["name"],
            "name": v["name"],
            "displayName": run["displayName"],
            "description": "",
            "config": json.dumps(run["config"]),
            "sweepName": None,
            "historyLineCount": len(self.history(v["name"])),
            "project": {"id": "p", "name": v["project"], "entity": {"id": "e", "name": "someone"}},
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def CreateRunFiles(self, v):
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{v['run']}/{name}"} for name in v["files"]]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    def ArtifactType(self, v):
        return {"project": None}

    def CreateArtifact(self, v):
        key = f"artifact{len(self.artifacts)}"
        self.artifacts[key] = {**v["input"], "state": "PENDING"}
        artifact = {"id": key, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def CreateArtifactManifest(self, v):
        url = f"{self.url}/upload/{v['artifactID']}/manifest"
        file = {"id": "f", "name": "m", "displayName": "m", "uploadUrl": url, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": f"manifest-{v['artifactID']}", "file": file}}}

    def CreateArtifactFiles(self, v):
        edges = []
        for i, file in enumerate(v["input"]["artifactFiles"]):
            url = f"{self.url}/upload/{file['artifactID']}/{file['name']}"
            node = {"id": f"f{i}", "name": file["name"], "displayName": file["name"], "uploadUrl": url}
            node |= {"uploadHeaders": [], "artifact": {"id": file["artifactID"]}, "storagePath": file["name"]}
            edges.append({"node": {**node, "uploadMultipartUrls": None}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def CommitArtifact(self, v):
        self.artifacts[v["artifactID"]]["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": v["artifactID"], "digest": "d"}}}

    def run_node(self, key):
        run = self.runs[key]
        return {
            "id": key,
            "projectId": "1",
            "name": key,
            "displayName": run["displayName"],
            "tags": run.get("tags") or [],
            "sweepName": None,
            "state": {None: "running", 0: "finished"}.get(run.get("exit"), "failed"),
            "config": json.dumps(run["config"]),
            "group": run.get("groupName"),
            "jobType": run.get("jobType"),
            "commit": None,
            "readOnly": False,
            "createdAt": "2030-01-01T00:00:00Z",
            "heartbeatAt": "2030-01-01T00:00:00Z",
            "description": "",
            "notes": "",
            "systemMetrics": "{}",
            "summaryMetrics": json.dumps(self.summary(key)),
            "historyLineCount": len(self.history(key)),
            "user": {"name": "Some One", "username": "someone"},
            "historyKeys": {"lastStep": max((row["_step"] for row in self.history(key)), default=-1), "keys": {}},
        }

    def Run(self, v):
        return {"project": {"run": self.run_node(v["name"]) if v["name"] in self.runs else None}}

    RunHistoryKeys = Run

    def Runs(self, v):
        group = json.loads(v.get("filters") or "{}").get("group")
        keys = [key for key, run in self.runs.items() if group in (None, run.get("groupName"))]
        edges = [{"node": self.run_node(key), "cursor": key} for key in keys]
        runs = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
        return {"project": {"internalId": "1", "runCount": len(keys), "readOnly": False, "runs": runs}}

    def ArtifactMembershipByName(self, v):
        collection = v["name"].split(":")[0]
        found = [(k, a) for k, a in self.artifacts.items() if a["artifactCollectionName"] == collection]
        if not found:
            return {"project": {"artifactCollectionMembership": None}}
        key, artifact = found[-1]
        project = {"id": "p", "internalId": "1", "name": v["project"], "entity": {"name": v["entity"]}}
        source = {"name": collection, "project": project}
        node = {"__typename": "Artifact", "id": key, "versionIndex": 0, "description": None, "state": artifact["state"]}
        node |= {"artifactSequence": {"__typename": "ArtifactSequence", **source}, "artifactType": {"name": "model"}}
        node |= {"metadata": artifact["metadata"], "ttlDurationSeconds": -1, "ttlIsInherited": True, "tags": []}
        node |= {"historyStep": None, "size": 1, "digest": artifact["digest"], "commitHash": "c", "fileCount": 1}
        node |= {"createdAt": "2030-01-01T00:00:00Z", "updatedAt": None, "aliases": []}
        membership = {"__typename": "ArtifactCollectionMembership", "id": "m", "versionIndex": 0}
        membership |= {"createdAt": "2030-01-01T00:00:00Z", "aliases": [], "artifact": node}
        membership |= {"artifactCollection": {"__typename": "ArtifactSequence", **source}}
        return {"project": {"artifactCollectionMembership": membership}}

    def UseArtifact(self, v):
        self.used.append((v["runName"], self.artifacts[v["artifactID"]]["artifactCollectionName"]))
        return {"useArtifact": {"artifact": {"id": v["artifactID"], "digest": "d", "state": "COMMITTED"}}}

    def RunFiles(self, v):
        run = v.get("name") or v.get("run")
        stored = {k.removeprefix(f"{run}/"): body for k, body in self.uploads.items() if k.startswith(f"{run}/")}
        names = v.get("fileNames") or list(stored)
        edges = []
        for name in names:
            if name in stored:
                url = f"{self.url}/download/{run}/{name}"
                node = {"id": name, "name": name, "url": url, "directUrl": url, "sizeBytes": len(stored[name])}
                node |= {"mimetype": "application/json", "updatedAt": "2030-01-01T00:00:00Z", "md5": "x"}
                edges.append({"node": node, "cursor": name})
        files = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
        return {"project": {"internalId": "1", "run": {"fileCount": len(edges), "files": files}}}

    def upsertView(self, v):
        inserted = not v.get("id")
        key = v.get("id") or f"view{len(self.views)}"
        self.views.setdefault(key, []).append(v)
        view = {"id": key, "type": v["type"], "name": v["name"], "displayName": v["displayName"], "spec": v["spec"]}
        project = {"id": "p", "name": v["projectName"], "entityName": v["entityName"]}
        view |= {"description": v["description"], "project": project, "updatedAt": "2030-01-01T00:00:00Z"}
        return {"upsertView": {"view": view, "inserted": inserted}}

    def ProjectInternalId(self, v):
        return {"project": {"id": "p", "internalId": "cDox"}}

    def GetProjects(self, v):
        node = {"__typename": "Project", "id": "p", "name": "raykd", "entityName": "someone", "isBenchmark": False}
        node |= {"createdAt": "2030-01-01T00:00:00Z", "internalId": "1", "user": None, "entity": {"name": "someone"}}
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"edges": [{"node": node, "cursor": "c"}], "pageInfo": page, "totalCount": 1}}
