#!/bin/sh
# kill -9 at random moments: what was answered is kept. The TEP is on a host of
# its own.
set -u
where=remote
. regress/fault/crash.sh
