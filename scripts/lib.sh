# shellcheck shell=bash
# Words and small questions shared by the scripts beside this file; sourced, never run.
# shellcheck disable=SC2034  # the names below are used by those scripts

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ENGINE_PREFIX=${MESHLITE_ENGINE_PREFIX:-/opt/meshlite-engine}
CACHE=${MESHLITE_CACHE:-/var/cache/meshlite}

say() { printf '%s\n' "· $*" >&2; }

warn() { printf '%s\n' "! $*" >&2; }

fail() {
    printf '%s\n' "error: $*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

need_root() {
    [ "$(id -u)" -eq 0 ] || fail "$1 needs root. Run it again with sudo, or as root."
}

# Prints one field of /etc/os-release, for instance `distro ID` -> debian.
distro() (
    # shellcheck disable=SC1091
    . /etc/os-release 2>/dev/null || true
    printf '%s' "${!1:-}"
)

need_debian_like() {
    have apt-get || fail "this machine has no apt-get; the scripts know Debian 12 or later and Ubuntu 22.04 or later.
       Install yourself: $1. Then run the same command again; what is there is left alone."
}

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q ' installed$' || printf '%s\n' "$package"
    done
}

apt_install() {
    local missing log
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    need_debian_like "$*"
    need_root "installing ${missing[*]}"
    say "installing ${missing[*]}"
    apt_refresh
    log=$(mktemp)
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "apt-get could not install: ${missing[*]}. Its own words are above (all of them: $log)."
    fi
    rm -f "$log"
}

# Package lists older than a day (or none at all, as on a fresh image) are fetched again.
apt_refresh() {
    local stamp=/var/lib/apt/lists/.meshlite-refreshed
    [ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ] || return 0
    apt-get update -qq || fail "apt-get update failed. Check the network and the machine's package sources."
    touch "$stamp"
}

# The address of the distribution's own archive, as this machine reaches it.
apt_mirror() {
    # shellcheck disable=SC2016  # apt's own placeholders
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        "Codename: $(distro VERSION_CODENAME)" 'Component: main' | head -n 1
}

engine_answers() { have docker && timeout 10 docker info >/dev/null 2>&1; }

compose_answers() { have docker && docker compose version >/dev/null 2>&1; }

engine_version() { docker version --format '{{.Server.Version}}'; }

compose_version() { docker compose version --short; }

has_systemd() { [ -d /run/systemd/system ]; }
