"""One gateway and one provider for all tests; a test that needs another setting starts its own gateway."""

import contextlib
import subprocess

import openai
import pytest

import recorded
from gateway import Gateway, provider
from upstream import Upstream

CREDENTIAL = "sk-upstream-credential"
PRICED = '"gpt-4o-mini" = { context = 128000, max_output = 16384, price = { input = 0.15, output = 0.6, cache_read = 0.075 } }'
IMPATIENT = {"TEST_PROVIDER_KEY": CREDENTIAL, "KEYWARD_UPSTREAM_MAX_BACKOFF": "50ms"}


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of its own in a folder, of so many bytes as mount(8) writes them; a test without the right to mount one skips."""
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture(scope="session")
def one_upstream():
    upstream = Upstream()
    upstream.fallback = recorded.answer
    yield upstream
    upstream.close()


@pytest.fixture
def upstream(one_upstream):
    one_upstream.forget()
    return one_upstream


@pytest.fixture(scope="session")
def gateway(one_upstream, tmp_path_factory):
    providers = {"test": provider(one_upstream.url, models=PRICED)}
    running = Gateway(tmp_path_factory.mktemp("gateway"), providers=providers, env=IMPATIENT).start()
    yield running
    running.stop()


@pytest.fixture
def start_gateway(upstream, tmp_path):
    """Starts a gateway with settings of its own, stopped after the test unless the test did."""
    started = []

    def start(**settings):
        settings = {"providers": {"test": provider(upstream.url, models=PRICED)}, **settings}
        settings["env"] = IMPATIENT | settings.get("env", {})
        folder = tmp_path / f"gateway-{len(started)}"
        folder.mkdir()
        started.append(Gateway(folder, **settings).start())
        return started[-1]

    yield start
    for running in started:
        print(running.log())
        if running.process.returncode is None:
            running.stop()


@pytest.fixture(scope="session")
def key(gateway):
    return gateway.new_key(name="session")["key"]


@pytest.fixture
def client(gateway, key, upstream):
    """The SDK through Keyward, as `test/MODEL`."""
    return gateway.client(key)


@pytest.fixture
def direct(upstream):
    """The same SDK straight to the provider, as `MODEL`."""
    return openai.OpenAI(base_url=upstream.url, api_key=CREDENTIAL, max_retries=0, timeout=20)
