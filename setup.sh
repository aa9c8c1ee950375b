#!/usr/bin/env bash
# Makes .venv: a pinned torch first, then Espalier with pinned dependencies. Instant, and offline, when nothing changed.
set -euo pipefail

torch_pin=2.13.0  # what a fresh clone gets; what --system-torch accepts stands in pyproject.toml

usage() {
  cat <<TEXT
Usage: ./setup.sh [--dev] [--system-torch]

Makes .venv beside this script, with torch $torch_pin and Espalier. Needs Python 3.11, 3.12 or 3.13 on PATH.

  --dev           adds what the tests and checks need; stays on in later runs
  --system-torch  keeps the torch (>= 2.11) of the activated environment instead of installing one;
                  stays on until .venv is removed
  -h, --help      this text
TEXT
}

die() { printf 'setup.sh: %s\n' "$*" >&2; exit 1; }

# Prints the first Python of PATH that Espalier runs on.
find_python() {
  local name version found=
  for name in python3 python3.13 python3.12 python3.11 python; do
    # A version manager's shim may stand there without a Python behind it.
    version=$("$name" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
    found="$found $name is $version,"
    case $version in 3.11.* | 3.12.* | 3.13.*) ;; *) continue ;; esac
    if "$name" -c 'import ensurepip, venv' 2>/dev/null; then command -v "$name"; return; fi
    found="$found but cannot make environments (Debian: apt install python${version%.*}-venv),"
  done
  found=${found%,}
  die "Espalier needs Python 3.11, 3.12 or 3.13; on PATH${found:- there is none}. Install one" \
    "(apt install python3.12-venv, brew install python@3.12, pyenv or conda), put it on PATH, run this again."
}

# Prints the folder that an interpreter's own torch lies in.
find_torch() {
  local version folder
  { read -r version && IFS= read -r folder; } < <(
    "$1" -c 'import torch, pathlib; print(torch.__version__, pathlib.Path(torch.__file__).parents[1], sep="\n")'
  ) || die "--system-torch: $1 cannot import torch; activate the environment that has it, or drop the option."
  case $version in
    [01].* | 2.[0-9].* | 2.10.*)
      die "--system-torch: $1 has torch $version, but Espalier needs >= 2.11; upgrade it, or drop the option." ;;
  esac
  printf '%s\n' "$folder"
}

extra='' torch=''
for option in "$@"; do
  case $option in
    --dev) extra='[dev]' ;;
    --system-torch) torch=system ;;
    -h | --help) usage; exit ;;
    *) usage >&2; die "unknown option $option" ;;
  esac
done

cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null
stamp=.venv/espalier-setup  # one line each: what it was made from, which torch, which extra, in which folder
made_from=$(cat setup.sh pyproject.toml constraints.txt | cksum)
old_made_from='' old_torch='' old_extra='' old_folder=''
if [ -x .venv/bin/python ] && [ -f "$stamp" ]; then
  { IFS= read -r old_made_from; read -r old_torch; read -r old_extra; IFS= read -r old_folder; } <"$stamp" || true
fi
torch=${torch:-${old_torch:-pinned}} extra=${extra:-$old_extra}
write_stamp() { printf '%s\n' "$1" "$torch" "$extra" "$PWD" >"$stamp"; }

if [ "$old_made_from" = "$made_from" ] && [ "$old_torch$old_extra$old_folder" = "$torch$extra$PWD" ]; then
  echo "setup.sh: .venv is up to date"
  exit
fi

# A .venv without a stamp, from another folder or with the other kind of torch is made anew.
if [ "$old_torch$old_folder" != "$torch$PWD" ]; then
  PATH=${PATH//"$PWD/.venv/bin:"/}  # it may be the activated one
  python=$(find_python) site_packages=''
  if [ "$torch" = system ]; then site_packages=$(find_torch "$python"); fi
  echo "setup.sh: making .venv with $python"
  "$python" -m venv --clear ${site_packages:+--system-site-packages} .venv
  if [ -n "$site_packages" ]; then
    # Where the activated environment is a venv itself, a venv made from it sees the system's packages only.
    purelib=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$site_packages" >"$purelib/system-torch.pth"
    echo "setup.sh: pip may name conflicts with other packages of that environment; nothing in it is changed"
  fi
fi
write_stamp unfinished

pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input install --constraint constraints.txt "$@"; }
if [ "$torch" = pinned ]; then
  echo "setup.sh: installing torch $torch_pin"
  pip "torch==$torch_pin" ||
    die "pip could not install torch $torch_pin, for the reason above." \
      "With a torch >= 2.11 of your own: activate its environment and use --system-torch."
fi
echo "setup.sh: installing Espalier$extra"
torch_version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("torch"))')
pip --quiet --editable ".$extra" "torch==$torch_version"  # named, so that nothing replaces this build
write_stamp "$made_from"
echo "setup.sh: done; next: .venv/bin/python -m search.run explorations/sweep.yaml"
