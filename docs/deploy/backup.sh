#!/bin/sh
# Copies what the store has on disk, while it runs: backup.sh DATA_DIRECTORY COPY
#
# DATA_DIRECTORY is the store's `dir`, in which it keeps `appendonlydir`; COPY must not be there yet. CLI is how to ask
# the store, such as CLI="redis-cli -p 6380"; a password belongs in REDISCLI_AUTH.
#
# The append-only file only grows, but for its rewriting: so that waits until the copy is made.

set -eu
data=${1:?DATA_DIRECTORY} copy=${2:?COPY}
cli="${CLI:-valkey-cli} -e"

refuse() {
    echo "backup.sh: $*" >&2
    exit 1
}

for path in "$copy" "$copy.part"; do
    test ! -e "$path" || refuse "$path is there already"
done
growth=$($cli --raw config get auto-aof-rewrite-percentage | tail -n 1)
test "$growth" != 0 || refuse "auto-aof-rewrite-percentage is 0: another backup runs, or one was killed." \
    "If none runs: $cli config set auto-aof-rewrite-percentage 100 (or what it was)"
trap 'rm -rf "$copy.part"; $cli config set auto-aof-rewrite-percentage "$growth" > /dev/null' EXIT
trap 'exit 1' HUP INT TERM # which alone would end it without the line above
$cli config set auto-aof-rewrite-percentage 0 > /dev/null
while $cli info persistence | grep -Eq '^aof_rewrite_(in_progress|scheduled):1'; do
    sleep 1
done

cp -a "$data/appendonlydir" "$copy.part"
sync "$copy.part"/*
mv "$copy.part" "$copy"
