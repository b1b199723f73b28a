#!/bin/bash
# SPDX-License-Identifier: MIT
# script-equal-uring.sh - script-equal.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/script-equal.sh
. "$top_srcdir/tests/servers/script-equal.sh"
