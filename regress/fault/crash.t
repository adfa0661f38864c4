#!/bin/sh
# kill -9 at random moments: what was answered is kept. Server and TEP are on
# one host.
set -u
where=colocated
. regress/fault/crash.sh
