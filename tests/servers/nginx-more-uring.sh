#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-more-uring.sh - nginx-more.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/nginx-more.sh
. "$top_srcdir/tests/servers/nginx-more.sh"
