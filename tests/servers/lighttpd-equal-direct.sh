#!/bin/bash
# SPDX-License-Identifier: MIT
# lighttpd-equal-direct.sh - lighttpd-equal.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/lighttpd-equal.sh
. "$top_srcdir/tests/servers/lighttpd-equal.sh"
