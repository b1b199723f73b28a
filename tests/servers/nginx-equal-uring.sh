#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-equal-uring.sh - nginx-equal.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/nginx-equal.sh
. "$top_srcdir/tests/servers/nginx-equal.sh"
