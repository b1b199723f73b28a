#!/bin/bash
# SPDX-License-Identifier: MIT
# memcached-equal-uring.sh - memcached-equal.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/memcached-equal.sh
. "$top_srcdir/tests/servers/memcached-equal.sh"
