"""The prompts that come with the project, each called with its examples."""

import json
import shutil

import pytest

import upstream as provider
from gateway import ROOT, eventually

# What stands beside what an example wants, so that an answer fits its prompt's schema.
SAYS = {
    "classify": lambda wanted: f'{{{", ".join(wanted)}, "reason": "So it says."}}',
    "sentiment": lambda wanted: f'{{{", ".join(wanted)}, "confidence": 0.9}}',
    "sql": lambda wanted: json.dumps({"sql": f"SELECT {' '.join(wanted)}", "explanation": "So it says."}),
}


@pytest.fixture
def shipped(start_gateway):
    gateway = start_gateway(env={"KEYWARD_PROMPTS_MODEL": "test/gpt-4o-mini"})
    # Without what a gateway in this folder has noted.
    shutil.copytree(ROOT / "prompts", gateway.folder / "prompts", ignore=shutil.ignore_patterns(".*"))
    gateway.names = sorted(file.stem for file in (gateway.folder / "prompts").glob("*.prompt"))
    gateway.env["KEYWARD_KEY"] = gateway.new_key()["key"]
    listed = lambda: [prompt["name"] for prompt in gateway.request("GET", "/prompts", key=gateway.env["KEYWARD_KEY"]).json()["data"]]  # noqa: E731
    assert eventually(lambda: sorted(listed()) == gateway.names)
    return gateway


def texts(value):
    """All that a value says."""
    if isinstance(value, str):
        return [value.strip()]
    return [text for part in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else []) for text in texts(part)]


def asked_with(asked, examples):
    """The one example whose input is all in a request."""
    told = "\n".join(texts(asked.json()["messages"]))
    [found] = [example for example in examples if all(text in told for text in texts(example["input"]))]
    return found


def as_wanted(example, name):
    """An answer that an example is met by."""
    if example["output"] is not None:
        return example["output"] if isinstance(example["output"], str) else json.dumps(example["output"])
    return SAYS.get(name, " ".join)(example["contains"])


def test_each_prompt_has_examples_that_reach_the_model_and_are_checked(shipped, upstream):
    examples = []
    for name in shipped.names:
        told = shipped.admin("GET", f"/prompts/{name}/examples")
        assert (told["file"], told["faults"]) == (f"{name}.examples.yaml", []) and len(told["examples"]) >= 2, told
        examples += [{**example, "of": name} for example in told["examples"]]
    met = []

    def answer(asked):
        met.append(asked_with(asked, examples))
        return provider.chat(as_wanted(met[-1], met[-1]["of"]))

    upstream.serve_at("POST", "/chat/completions", answer)
    done = shipped.run("prompts", "test")
    assert done.returncode == 0 and done.stdout.endswith(f"{len(examples)} passed, 0 failed\n"), done.stdout + done.stderr
    assert met == examples


def test_an_answer_that_differs_is_shown_by_its_lines(shipped, upstream):
    examples = shipped.admin("GET", "/prompts/extract/examples")["examples"]

    def answer(asked):
        example = asked_with(asked, examples)
        wrong = {**example["output"], "total": 9.5} if "total" in example["output"] else example["output"]
        return provider.chat(json.dumps(wrong))

    upstream.serve_at("POST", "/chat/completions", answer)
    done = shipped.run("prompts", "test", "extract")
    assert done.returncode == 1 and "WRONG extract@1 an invoice (" in done.stdout, done.stdout + done.stderr
    assert '-  "total": 1250.5\n+  "total": 9.5\n' in done.stdout and done.stdout.endswith("2 passed, 1 failed\n")
    upstream.serve_at("POST", "/chat/completions", provider.chat("A blank page."))
    lacking = shipped.run("prompts", "test", "describe-image").stdout
    assert "the answer has no 'STOP' in it: A blank page." in lacking and lacking.endswith("0 passed, 2 failed\n")


def test_what_check_says_of_models_is_said_to_be_by_its_own_variables(shipped):
    judged = "Note: models are judged by the variables and stored credentials that this command has"
    checked = shipped.run("prompts", "check")
    assert checked.returncode == 0 and "Note" not in checked.stdout, checked.stdout
    del shipped.env["TEST_PROVIDER_KEY"]
    checked = shipped.run("prompts", "check")
    assert checked.returncode == 0 and "Note: sql@1 cannot be answered: " in checked.stdout and checked.stdout.count(judged) == 1, checked.stdout
