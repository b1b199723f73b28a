#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-control-uring.sh - nginx-control.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/nginx-control.sh
. "$top_srcdir/tests/servers/nginx-control.sh"
