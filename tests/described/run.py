"""The management API and prompts, held to their own OpenAPI descriptions by Schemathesis: no request that it thinks of is a server's error, and each
answer has a status, a content type and a body that the description has.

`python tests/described/run.py FOLDER` takes the folder of the environment that has `st`; more words go to it."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from gateway import ROOT, Gateway

# A description cannot tell all that is refused: what is published already, or another request under the same Idempotency-Key.
TOLD_BY_NONE = "positive_data_acceptance"


def held_to(command, gateway, key, path, *options):
    """Whether all that was asked went by the description at that path."""
    description = gateway.request("GET", path, key=key)
    assert description.status == 200, description.body
    file = gateway.folder / "description.json"
    file.write_text(json.dumps(description.json()))
    at = ["--url", f"http://127.0.0.1:{gateway.port}", "--header", f"Authorization: Bearer {key}"]
    steady = ["--seed", "1", "--max-examples", "10", "--generation-database", "none", "--workers", "1", "--suppress-health-check", "all"]
    # In the gateway's own folder, where what it keeps goes with that.
    return subprocess.run([*command, *at, *steady, *options], check=False, cwd=gateway.folder).returncode == 0


def main(folder, *words):
    with tempfile.TemporaryDirectory() as place:
        gateway = Gateway(place)
        # They are changed by those who manage.
        shutil.copytree(ROOT / "prompts", gateway.folder / "prompts")
        gateway.start()
        command = [pathlib.Path(folder) / "bin" / "st", "run", gateway.folder / "description.json", *words]
        try:
            admin, key = gateway.new_key(kind="admin")["key"], gateway.new_key()["key"]
            # What ends keys would end the one that asks.
            own = ["--exclude-checks", TOLD_BY_NONE, "--exclude-path-regex", "rotate|revoke|disable|leak|github"]
            told = {
                "a prompt": held_to(command, gateway, key, "/prompts/summarize/openapi.json"),
                "the management API": held_to(command, gateway, admin, "/admin/v1/openapi.json", *own),
            }
        finally:
            gateway.stop()
    wrong = [what for what, is_right in told.items() if not is_right]
    print(*(f"not by its description: {what}" for what in wrong), sep="\n")
    print(f"{len(told) - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
