#!/bin/sh
# Every process is killed under traffic, then all at once: no lease is lost.
set -u
plane=tun
. regress/domain/restart.sh
