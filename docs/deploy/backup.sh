#!/bin/sh
# Copies the append-only files of a running store: backup.sh DATA_DIRECTORY COPY
#
# DATA_DIRECTORY is `dir` of the store, which contains `appendonlydir`. COPY must not exist. CLI is the command that
# connects to the store, for example CLI="redis-cli -p 6380". Put a password in REDISCLI_AUTH.
#
# The append-only file only grows, except when the store rewrites it. So rewrites are off until the copy is complete.

set -eu
data=${1:?DATA_DIRECTORY} copy=${2:?COPY}
cli="${CLI:-valkey-cli} -e"

refuse() {
    echo "backup.sh: $*" >&2
    exit 1
}

for path in "$copy" "$copy.part"; do
    test ! -e "$path" || refuse "$path already exists"
done
growth=$($cli --raw config get auto-aof-rewrite-percentage | tail -n 1)
test "$growth" != 0 || refuse "auto-aof-rewrite-percentage is 0: another backup is running, or one was killed." \
    "If none is running: $cli config set auto-aof-rewrite-percentage 100 (or its previous value)"
trap 'rm -rf "$copy.part"; $cli config set auto-aof-rewrite-percentage "$growth" > /dev/null' EXIT
trap 'exit 1' HUP INT TERM # a signal alone would skip the EXIT trap
$cli config set auto-aof-rewrite-percentage 0 > /dev/null
while $cli info persistence | grep -Eq '^aof_rewrite_(in_progress|scheduled):1'; do
    sleep 1
done

cp -a "$data/appendonlydir" "$copy.part"
sync "$copy.part"/*
mv "$copy.part" "$copy"
