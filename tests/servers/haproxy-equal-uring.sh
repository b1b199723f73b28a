#!/bin/bash
# SPDX-License-Identifier: MIT
# haproxy-equal-uring.sh - haproxy-equal.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/haproxy-equal.sh
. "$top_srcdir/tests/servers/haproxy-equal.sh"
