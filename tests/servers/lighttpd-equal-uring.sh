#!/bin/bash
# SPDX-License-Identifier: MIT
# lighttpd-equal-uring.sh - lighttpd-equal.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/lighttpd-equal.sh
. "$top_srcdir/tests/servers/lighttpd-equal.sh"
