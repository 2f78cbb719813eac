# Sourced by the test commands: where they keep what they install, and how they install it. All of it can be run again.

# Outside the clone, so that a clean clone has it already.
cache=${KEYWARD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keyward-tests}
mkdir -p "$cache"
export PATH="$cache/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 NO_PROXY=127.0.0.1,localhost

# packages PACKAGE…: Debian packages.
packages() {
    local sudo=()
    ((EUID)) && sudo=(sudo)
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

# need COMMAND=PACKAGE…: the packages whose command is missing.
need() {
    local pair missing=()
    for pair; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
    done
    # Debian splits what a virtual environment is made with from Python itself.
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    ((${#missing[@]} == 0)) || packages "${missing[@]}"
}

# current FILE COPY: whether what was installed by COPY is what FILE asks for.
current() { cmp -s "$1" "$2"; }

# venv NAME REQUIREMENTS: a virtual environment in the cache; the copy of its requirements is made last, so that half of one is made anew.
venv() {
    current "$2" "$cache/$1/requirements.txt" && return
    rm -rf "${cache:?}/$1"
    python3 -m venv "$cache/$1"
    "$cache/$1/bin/pip" install -q -r "$2"
    cp "$2" "$cache/$1/requirements.txt"
}

# npm_packages NAME PACKAGE_JSON: a node_modules folder in the cache, by the npm of the environment `e2e`.
npm_packages() {
    current "$2" "$cache/$1/installed.json" && return
    rm -rf "${cache:?}/$1"
    mkdir "$cache/$1"
    cp "$2" "$cache/$1/package.json"
    PATH="$cache/e2e/bin:$PATH" npm install --prefix "$cache/$1" --silent --no-audit --no-fund --no-package-lock
    cp "$2" "$cache/$1/installed.json"
}
