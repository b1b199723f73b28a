/* SPDX-License-Identifier: MIT */
/* hash.h - uthash with a hash function that every compiler takes without a warning. */
#ifndef ESCA_ANALYZER_HASH_H
#define ESCA_ANALYZER_HASH_H

#define HASH_FUNCTION(key, len, hash) HASH_OAT(key, len, hash)
#include <uthash.h>

#endif
