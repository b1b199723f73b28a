/* SPDX-License-Identifier: MIT */
/* record.h - the rings that libesca.so fills in mode record and the tracer drains: the ABI of the fast lane. */
#ifndef ESCA_RUNTIME_RECORD_H
#define ESCA_RUNTIME_RECORD_H

#include <stdint.h>

/** The gate: a page at a fixed address that holds `syscall; ret`, so that one seccomp filter stays right across exec and fork. */
#define ESCA_GATE_ADDR 0x00007e5ca000ull

#endif
