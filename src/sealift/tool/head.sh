#!/bin/sh
# sealift @VERSION@ for @PLATFORM@. This file carries an interpreter and sealift, unpacks them under the prefix
# and installs them there; nothing is written anywhere else.
#
# Before you run it, compare its SHA-256 with the one on the carry sheet:   sha256sum THIS-FILE
# To see what is in it:   tail -c +@START@ THIS-FILE | gzip -dc | tar -tf -
set -eu
umask 022

version='@VERSION@'
platform='@PLATFORM@'
glibc='@GLIBC@'
python='@PYTHON@'
identity='@IDENTITY@'
fingerprint='@FINGERPRINT@'
payload_start=@START@
payload_bytes=@SIZE@
payload_sha256='@SHA256@'
unpacked_kb=@UNPACKED_KB@

refuse() {
  # refuse CODE WHAT NEXT: the codes are those of `sealift` (docs/reference/exit-codes.md).
  printf 'sealift %s: %s\n' "$version" "$2" >&2
  printf '  next: %s\n' "$3" >&2
  exit "$1"
}

usage() {
  printf '%s\n' \
    "usage: sh $1 [--prefix P] [--no-input] [--json] [-q]     sh $1 --info" \
    '' \
    "Installs sealift $version ($platform) on a box without Python and without a network." \
    'Compare its SHA-256 with the carry sheet first:  sha256sum' "$1" \
    '' \
    '  --prefix P         where sealift lives (default: $SEALIFT_PREFIX, else /opt/sealift)' \
    '  --yes, --no-input  do not ask for the last 8 digits of the fingerprint from the paper' \
    '  --json             print the result as JSON' \
    '  -q, --quiet        print errors only' \
    '  --info             say what is inside, and change nothing' \
    '' \
    'Running it again is safe, also after a power cut in the middle.'
}

info() {
  printf '%s\n' "sealift      $version" "platform     $platform, glibc $glibc or newer" \
    "interpreter  Python $python, inside" "identity     sha256:$identity" \
    "trust root   $fingerprint" "payload      $payload_bytes bytes, sha256:$payload_sha256" \
    "unpacked     $unpacked_kb KiB"
}

older() {
  # older FOUND EXPECTED: two numbers joined by a dot.
  found_minor=${1#*.}
  expected_minor=${2#*.}
  [ "${1%%.*}" -lt "${2%%.*}" ] && return 0
  [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${found_minor%%.*}" -lt "${expected_minor%%.*}" ]
}

this=$0
prefix=${SEALIFT_PREFIX:-/opt/sealift}
options=''
quiet=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage "$this"; exit 0 ;;
    --info) info; exit 0 ;;
    --prefix)
      [ $# -gt 1 ] || refuse 2 '--prefix: expected a folder' "sh $this --help"
      prefix=$2
      shift
      ;;
    --prefix=*) prefix=${1#--prefix=} ;;
    --yes | --no-input) options="$options --no-input" ;;
    --json | -q | --quiet)
      options="$options $1"
      quiet=yes
      ;;
    *) refuse 2 "$1: not an option of this file" "sh $this --help" ;;
  esac
  shift
done
case $prefix in
  /*) ;;
  *) prefix=$(pwd)/$prefix ;;
esac
[ -f "$this" ] || refuse 2 'expected to be run as a file' 'sh FILE.run'

tell() {
  [ -n "$quiet" ] || printf '%s\n' "$*" >&2
}

# -- may this box run it? -------------------------------------------------------------------------------------

machine=$(uname -m)
case $machine in
  amd64 | x64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
esac
system=$(uname -s)
[ "$system-$machine" = "Linux-${platform#linux-}" ] ||
  refuse 31 "platform: expected $platform, found $system $machine; nothing was changed" \
    'carry the file that was made for this platform'
found=$(getconf GNU_LIBC_VERSION 2>/dev/null) || found=''
case $found in
  'glibc '[0-9]*.[0-9]*)
    ! older "${found#glibc }" "$glibc" ||
      refuse 31 "C library: expected glibc $glibc or newer, found ${found#glibc }; nothing was changed" \
        "on the packing machine: sealift export bootstrap with a --target that has this C library"
    ;;
esac

# -- is it whole? ---------------------------------------------------------------------------------------------

tell "sealift $version for $platform, into $prefix"
found=$(wc -c <"$this")
[ "$found" -eq $((payload_start - 1 + payload_bytes)) ] ||
  refuse 22 "this file is damaged: expected $((payload_start - 1 + payload_bytes)) bytes, found $found" \
    'copy it to the medium again'
if command -v sha256sum >/dev/null 2>&1; then
  found=$(tail -c "+$payload_start" "$this" | sha256sum)
  [ "${found%% *}" = "$payload_sha256" ] ||
    refuse 22 "this file is damaged: expected payload $payload_sha256, found ${found%% *}" \
      'copy it to the medium again'
else
  tell '  no sha256sum on this box: every byte is checked after it is unpacked'
fi

# -- a place under the prefix ---------------------------------------------------------------------------------

mkdir -p "$prefix" 2>/dev/null && [ -w "$prefix" ] ||
  refuse 40 "$prefix cannot be written; nothing was changed" "sudo sh $this, or choose another --prefix"
free_kb=$(df -Pk "$prefix" 2>/dev/null | while read -r _ _ _ free _; do echo "$free"; done | tail -n 1) ||
  free_kb=''
case $free_kb in
  '' | *[!0-9]*) ;;
  *)
    [ "$free_kb" -ge $((unpacked_kb * 2)) ] ||
      refuse 32 "$prefix: needs $((unpacked_kb * 2)) KiB, $free_kb KiB are free; nothing was changed" \
        'free space, or choose another --prefix'
    ;;
esac
partial=$prefix/.sealift-$version.partial
boot=''
{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || :
if [ -e "$partial" ]; then
  holder='' held_since=''
  { read -r holder held_since <"$partial/holder"; } 2>/dev/null || :
  if [ -n "$holder" ] && [ "$held_since" = "$boot" ] && kill -0 "$holder" 2>/dev/null; then
    refuse 41 "$prefix is held by another run of this file (process $holder)" 'wait for it to end, then again'
  fi
  tell '  an earlier run was cut off: its files are removed'
  rm -rf "$partial"
fi
mkdir "$partial" || refuse 40 "$partial cannot be made" 'run it again'
trap 'rm -rf "$partial"' EXIT
trap 'exit 130' INT TERM HUP
printf '%s %s\n' "$$" "$boot" >"$partial/holder"
printf '#!/bin/sh\nexit 0\n' >"$partial/try"
chmod 755 "$partial/try"
"$partial/try" 2>/dev/null ||
  refuse 30 "$prefix is on a file system mounted noexec: nothing can run from there; nothing was changed" \
    'mount it with exec (mount -o remount,exec), or choose another --prefix'

# -- unpack, and go on with the interpreter that came along ---------------------------------------------------

tell '  unpack'
tail -c "+$payload_start" "$this" | { gzip -dc || : >"$partial/damaged"; } | tar -xof - -C "$partial" ||
  refuse 40 "it could not be unpacked in $prefix (what tar says is above; a full disk?); nothing was changed" \
    'free space or choose another --prefix, then again'
[ -f "$partial/complete" ] && [ ! -e "$partial/damaged" ] ||
  refuse 22 'this file is damaged: its payload does not unpack whole; nothing was changed' 'copy it to the medium again'
interpreter=$partial/tree/runtime/python/bin/python$python
said=$("$interpreter" -I -S -c 'import ssl, ctypes' 2>&1) ||
  refuse 31 "the interpreter inside does not run on this box (glibc $glibc or newer is needed): ${said%%"
"*}" \
    'on the packing machine: sealift export bootstrap with a --target like this box'
code=0
# shellcheck disable=SC2086 # options are words of this script's own
"$interpreter" -I -S -B "$partial/tree/runtime/boot.py" _bootstrap --unpacked "$partial" --file "$this" \
  --parent "$$" --prefix "$prefix" $options || code=$?
exit "$code"
