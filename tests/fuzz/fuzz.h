/* SPDX-License-Identifier: MIT */
/* fuzz.h - the entry point that libFuzzer, or fuzz-main.c in its place, calls. */
#ifndef ESCA_TESTS_FUZZ_H
#define ESCA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
